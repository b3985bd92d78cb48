"""Pairs of images of a caller's own: how they are given, and what is no pair, no disparity and no flow."""

import logging

import pytest
import torch

import unpool
from unpool.assemble.plain import plan, wrap
from unpool.errors import DataError
from unpool.recipe import load_recipe

H, W = 6, 8
LEFT = torch.randint(0, 256, (1, H, W), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
RIGHT = LEFT.flip(-1)
DISPARITY, FLOW = torch.full((H, W), 3.0), torch.ones(2, H, W)


def read(task, *items):
    return wrap([*items], load_recipe(f"dataset_{task}"), None, part="train").reader


def test_pair_is_both_images_in_their_order_and_its_targets_are_kept():
    known = DISPARITY.clone()
    known[0, :2] = torch.tensor([torch.inf, torch.nan])
    hidden = known > 5
    items = {"image": (LEFT, RIGHT), "disparity": known, "hidden": hidden.to(torch.uint8)}
    for image in ((LEFT, RIGHT), [LEFT[0].numpy(), RIGHT[0].numpy()], torch.cat([LEFT, RIGHT])):
        sample = read("stereo", {**items, "image": image})[0]
        assert sample["image"].equal(torch.cat([LEFT, RIGHT]))
        assert sample["disparity"].isnan()[0].tolist() == 2 * [True] + 6 * [False]
        assert sample["hidden"].equal(hidden)
    assert read("flow", ((LEFT, RIGHT), FLOW.numpy()))[0]["flow"].equal(FLOW)


def test_flow_that_a_flo_file_marks_as_unknown_is_not_known_in_both_components():
    flow = FLOW.clone()
    flow[0, 0, :4] = torch.tensor([1e10, -1e9, torch.nan, torch.inf])
    flow[1, 0, 4] = 1666666752.0
    seen = read("flow", ((LEFT, RIGHT), flow))[0]["flow"]
    assert seen[:, 0].isnan().tolist() == 2 * [5 * [True] + 3 * [False]]
    assert seen[:, 1:].equal(FLOW[:, 1:])


@pytest.mark.parametrize(
    ("task", "item", "says"),
    [
        ("stereo", (LEFT, DISPARITY), r"one image \(1, 6, 8\), and a pair is needed: give \(first, second\)"),
        ("stereo", ((LEFT, RIGHT, LEFT), DISPARITY), "3 values, and a pair is needed"),
        (
            "stereo",
            ((LEFT, RIGHT[..., 1:]), DISPARITY),
            r"\(1, 6, 8\) uint8 and \(1, 6, 7\) uint8: both must be of one",
        ),
        ("stereo", ((LEFT, RIGHT / 255), DISPARITY), "uint8 and .* float32: both must be of one size and kind"),
        ("stereo", ((LEFT, RIGHT), -DISPARITY), "disparity is -3 somewhere; .*turn the sign around"),
        ("stereo", ((LEFT, RIGHT), DISPARITY[1:]), r"disparity is \(5, 8\), and its images ask for \(6, 8\)"),
        ("flow", ((LEFT, RIGHT), FLOW.permute(1, 2, 0)), r"flow is \(6, 8, 2\), and its images ask for \(2, 6, 8\)"),
        ("stereo", ((LEFT, RIGHT), DISPARITY / 0), "disparity is known at no pixel of a sample, .*: leave it out"),
        ("flow", ((LEFT, RIGHT), FLOW * torch.inf), "flow is known at no pixel of a sample, .*: leave it out"),
        ("flow", ((LEFT, RIGHT), "left"), "flow is 'left': give an array"),
        ("flow", {"image": (LEFT, RIGHT), "flow": FLOW, "hidden": DISPARITY}, "hidden holds other values than 0 and 1"),
    ],
)
def test_sample_that_is_no_pair_is_named(task, item, says):
    with pytest.raises(DataError, match=says):
        read(task, item)[0]


def test_image_that_is_two_is_no_image_of_another_task():
    with pytest.raises(DataError, match="an image is a tuple"):
        read("denoising", ((LEFT, RIGHT), LEFT))


def test_disparities_that_samples_have_decide_how_many_are_told_apart(caplog):
    sets = {"train": [((LEFT, RIGHT), DISPARITY), ((LEFT, RIGHT), 10 * DISPARITY)], "val": [((LEFT, RIGHT), DISPARITY)]}
    with caplog.at_level(logging.INFO, logger="unpool"):
        planned = plan(load_recipe("dataset_stereo"), (), model=None, classes=None, **sets)
        assert planned.recipe.task.options["disparities"] == 39  # 0 to 38, a quarter above 30
        assert planned.recipe.data.channels == 2
    assert "reach 30 pixels in the samples looked at: task.disparities is 39" in caplog.text


def test_training_warns_of_disparities_beyond_those_told_apart(tmp_path, caplog):
    small = {"data.count": 2, "data.side": 32, "data.most": 12.0, "data.train_size": [32, 32], "model.width": 4}
    small |= {"task.disparities": 4, "train.epochs": 1, "train.batch": 2, "data.workers": 0}
    small |= {"train.precision": "float32", "train.memory_format": "contiguous"}
    unpool.train("scenes_mc_cnn", small, run=tmp_path / "run", check=False)
    assert "task.disparities 4 ends at 3" in caplog.text
