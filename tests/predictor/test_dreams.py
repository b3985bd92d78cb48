"""`show_dream`: which network, which image, what is excited, and what is refused."""

import pytest
import torch
from PIL import Image
from torch import nn

from tests.predictor.test_dense import photo, write_run
from unpool.errors import RecipeError
from unpool.inspection.dreaming import Ascent
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor.dreams import show_dream

SHORT = Ascent(steps=2, octaves=1, jitter=2)


def test_photograph_keeps_its_size_and_is_changed():
    image = photo(40, 52, 3)
    view = show_dream(nn.Conv2d(3, 4, 3), image, layer="", unit=1, ascent=SHORT)
    assert view.picture.shape == image.shape
    assert not torch.equal(view.picture, image)
    assert view.values["score"][1] > view.values["score"][0]


def test_photograph_is_the_same_where_steps_are_zero():
    image = photo(40, 52, 3)
    view = show_dream(nn.Conv2d(3, 4, 3), image, layer="", ascent=Ascent(steps=2, step=0.0, octaves=3, jitter=5))
    assert torch.equal(view.picture, image)


def test_large_photograph_is_made_smaller_and_no_side_is_longer_than_1024():
    view = show_dream(nn.Conv2d(3, 1, 1), Image.new("RGB", (2048, 100)), layer="", ascent=SHORT)
    assert tuple(view.picture.shape[-2:]) == (50, 1024)
    with pytest.raises(RecipeError, match="8 to 1024 pixels"):
        show_dream(nn.Conv2d(3, 1, 1), layer="", size_hw=(64, 1025), ascent=SHORT)


def test_network_sees_the_image_by_its_preprocessing():
    view = show_dream(
        nn.Identity(),
        Image.new("RGB", (16, 16), (255, 0, 0)),
        layer="",
        unit=2,
        preprocessing=Preprocessing(order="bgr", value_range=(0.0, 255.0), mean=(100.0,) * 3, std=(1.0,) * 3),
        ascent=Ascent(steps=1, step=0.0, octaves=1, jitter=0),
    )
    assert view.values["score"][0] == pytest.approx(155.0)


def test_class_of_a_run_is_excited_by_name_from_noise(tmp_path):
    write_run(tmp_path / "run")
    view = show_dream(tmp_path / "run", label="two", ascent=SHORT)
    assert view.values["goal"] == "the score of two"
    assert tuple(view.picture.shape[-2:]) == (32, 32)
    same = show_dream(tmp_path / "run", layer="", unit=1, ascent=SHORT)
    assert view.values["scores"] == same.values["scores"]


def test_octaves_that_are_too_small_for_the_network_are_left_out_and_named():
    view = show_dream("lenet5", label=3, size_hw=(50, 50), ascent=SHORT._replace(octaves=3, scale=1.4))
    assert len(view.values["scores"]) == 2 * 2
    assert "2 of 3 octaves: the network takes none smaller than 36x36 pixels" in view.values["notes"]


def test_view_has_its_picture_curve_and_numbers(tmp_path):
    view = show_dream("lenet5", label=3, ascent=SHORT)
    page = view.to_page()
    assert "Objective" in page
    assert "class 3" in page
    assert "the weights are random" in page
    assert len(view.values["scores"]) == 2
    assert view.save(tmp_path / "dream.png").is_file()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "nothing to excite is named"),
        ({"label": 3, "layer": "head"}, "a class is excited, or a layer"),
        ({"label": "cat"}, "there is no class 'cat'"),
        ({"label": 10}, "has units 0 to 9, and no unit 10"),
        ({"layer": "hed"}, "has no layer 'hed'"),
        ({"label": 3, "ascent": Ascent(tile=8)}, "tile is 8; it must be at least 32"),
        ({"label": 3, "ascent": Ascent(steps=0)}, "steps is 0"),
        ({"label": 3, "ascent": Ascent(l2=-1.0)}, "at least 0"),
        ({"label": 3, "weights": "best"}, "belong to a run"),
        ({"label": 3, "preprocessing": Preprocessing()}, "is for a network that is passed"),
        ({"label": 3, "size_hw": (20, 40)}, "lenet5 does not take 20x40 pixels .*needs 32 or more"),
    ],
)
def test_what_cannot_be_is_refused_by_name(asked, message):
    with pytest.raises(RecipeError, match=message):
        show_dream("lenet5", **{"ascent": SHORT, **asked})
