"""The score of an answer that an attribution explains, by task."""

import pytest
import torch
from torch import nn

from tests.tasks.test_given_regions import PROPOSALS, OfRegions
from tests.tasks.tiny_detectors import OneStage, TwoStages
from unpool import models
from unpool.errors import RecipeError
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.tasks.detection import Detection
from unpool.tasks.pose import Pose
from unpool.tasks.segmentation import Segmentation
from unpool.types import AnchoredBoxes, DataInfo

CLASSES = ("red", "green, grass", "blue")
INFO = DataInfo(classes=CLASSES)


def inputs(side=64):
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    valid = torch.tensor([[0.0, 0.0, side, side]])
    return {"image": image, "valid_xyxy": valid, "size_hw": torch.tensor([[2 * side, 2 * side]])}


def gradient_of(explained, image):
    image = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(explained.value(image).sum(), image)
    return gradient


@pytest.mark.parametrize(
    ("target", "label"), [("red", 0), ("grass", 1), ("green, grass", 1), ("2", 2), (None, "answered")]
)
def test_of_a_class_the_score_is_its_logit(target, label):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    seen = inputs()
    logits = network(seen["image"])
    explained = Classification(INFO).explained(network, seen, target)
    label = int(logits.argmax()) if label == "answered" else label
    assert explained.about == CLASSES[label]
    assert explained.value(seen["image"]).item() == logits[0, label].item()


def test_class_that_is_part_of_another_name_is_not_taken_for_it():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    explained = Classification(DataInfo(classes=("sea otter", "otter", "sea"))).explained(network, inputs(), "otter")
    assert explained.about == "otter"


def test_class_that_is_none_is_refused_with_the_names():
    with pytest.raises(RecipeError, match="there is no class 'cat': give a number below 3, or one of red, green"):
        Classification(INFO).explained(nn.Identity(), inputs(), "cat")


class Halves(nn.Module):
    """Scores of half the size: red in the left half, blue in the right one."""

    def forward(self, image):
        small = nn.functional.avg_pool2d(image, 2)
        left = (torch.arange(small.shape[3]) < small.shape[3] // 2).float()
        return torch.stack([small[:, 0] + 100 * left, small[:, 1], small[:, 2] + 100 * (1 - left)], dim=1)


@pytest.mark.parametrize(
    ("target", "channel", "rows", "columns"),
    [
        ("red", 0, slice(0, 64), slice(0, 32)),
        ("blue", 2, slice(0, 64), slice(32, 64)),
        ("grass@16,32,48,96", 1, slice(16, 48), slice(8, 24)),  # the image is twice as large as the input
    ],
)
def test_of_a_mask_the_score_is_the_mean_over_its_class_or_box(target, channel, rows, columns):
    seen = inputs()
    explained = Segmentation(INFO).explained(Halves(), seen, target)
    gradient = gradient_of(explained, seen["image"])
    expected = torch.zeros_like(gradient)
    expected[:, channel, rows, columns] = 1 / (rows.stop - rows.start) / (columns.stop - columns.start)
    assert torch.allclose(gradient, expected)


def test_padding_takes_no_part_in_the_score_of_a_mask():
    seen = inputs() | {"valid_xyxy": torch.tensor([[0.0, 0.0, 64.0, 32.0]]), "size_hw": torch.tensor([[64, 128]])}
    gradient = gradient_of(Segmentation(INFO).explained(Halves(), seen, "red"), seen["image"])
    assert gradient[:, 0, :32, :32].min() > 0
    assert gradient[:, :, 32:].abs().max() == 0


def test_padding_takes_no_part_in_the_score_of_a_box():
    seen = inputs() | {"valid_xyxy": torch.tensor([[0.0, 0.0, 64.0, 32.0]]), "size_hw": torch.tensor([[64, 128]])}
    gradient = gradient_of(Segmentation(INFO).explained(Halves(), seen, "red@0,0,64,500"), seen["image"])
    assert gradient[:, 0, :32, :32].min() > 0
    assert gradient[:, :, 32:].abs().max() == 0


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("grass", "no pixel belongs to green, grass"),
        ("red@1,2,3", "'1,2,3' is no box"),
        ("red@500,500,600,600", "no pixel belongs to red in 500,500,600,600"),
    ],
)
def test_mask_without_pixels_is_refused(target, message):
    with pytest.raises(RecipeError, match=message):
        Segmentation(INFO).explained(Halves(), inputs(), target)


def test_of_a_joint_the_score_is_its_heatmap_where_the_answer_is():
    torch.manual_seed(0)
    names = ("head", "left_knee", "right_knee")
    network = nn.Sequential(nn.Conv2d(3, 3, 3, stride=4, padding=1)).eval()
    task, seen = Pose(DataInfo(keypoints=names)), inputs()
    maps = network(seen["image"])
    for joint, name in enumerate(names):
        explained = task.explained(network, seen, name)
        assert explained.about == name
        assert explained.value(seen["image"]).item() == maps[0, joint].max().item()
    surest = int(maps[0].flatten(1).amax(1).argmax())
    assert task.explained(network, seen, None).about == names[surest]
    with pytest.raises(RecipeError, match="there is no joint 'elbow'"):
        task.explained(network, seen, "elbow")


def grid_network():
    torch.manual_seed(0)
    network = models.build("yolo", width=8, neck_width=8, num_classes=3, grid=[2, 2])
    nn.init.constant_(network.head.last.bias, 0.5)
    return network


DETECTORS = {
    "one stage, classes exclude one another": lambda: OneStage(3, is_exclusive=True),
    "one stage, independent classes": lambda: OneStage(3, is_exclusive=False),
    "two stages": lambda: TwoStages(3),
    "cells": grid_network,
    "given regions": OfRegions,
}


@pytest.mark.parametrize("name", DETECTORS)
def test_of_a_box_the_score_is_that_of_its_anchor_region_or_cell(name):
    network, task = DETECTORS[name]().eval(), Detection(INFO)
    seen = inputs() | {"proposals": [2 * PROPOSALS]}  # on the image
    with torch.no_grad():
        answer = task.answer(network, seen)
    numbers = [0, len(answer["score"][0]) // 2, len(answer["score"][0]) - 1]
    values = []
    for number in numbers:
        explained = task.explained(network, seen, str(number))
        assert explained.about.startswith(f"box {number}, {CLASSES[answer['labels'][0][number]]}")
        both = explained.value(torch.cat([seen["image"], 0 * seen["image"]]))
        assert both.shape == (2,)
        values.append(both[0].item())
        assert gradient_of(explained, seen["image"]).abs().max() > 0
    shares = answer["score"][0][numbers]
    if name == "cells":
        assert values == pytest.approx(shares.tolist(), abs=1e-5)
    elif name == "one stage, independent classes":
        assert torch.tensor(values).sigmoid().tolist() == pytest.approx(shares.tolist(), abs=1e-5)
    else:  # a softmax of all classes is known to be above its own logit's share
        logits = _logits_of(network, task, seen)
        for value, share, number in zip(values, shares.tolist(), numbers, strict=True):
            column = int(answer["labels"][0][number]) + 1
            rows = (logits[:, column] - value).abs() < 1e-5
            assert any(abs(one - share) < 1e-5 for one in logits[rows].softmax(1)[:, column].tolist())


def _logits_of(network, task, seen):
    """(N, K + 1) the logits of all that a detector looks at."""
    with torch.no_grad():
        looked = task.forward(network, seen)
        one_stage = isinstance(looked.output, AnchoredBoxes)
        return looked.output.scores[0] if one_stage else looked.classify(looked.proposals).scores


def test_box_is_chosen_by_number_or_class_and_others_are_refused():
    network, task, seen = OneStage(3, is_exclusive=True).eval(), Detection(INFO), inputs()
    with torch.no_grad():
        labels = task.answer(network, seen)["labels"][0].tolist()
    assert task.explained(network, seen, None).about.startswith("box 0, ")
    label = labels[-1]
    first = labels.index(label)
    assert task.explained(network, seen, CLASSES[label]).about.startswith(f"box {first}, {CLASSES[label]}")
    with pytest.raises(RecipeError, match=f"boxes 0 to {len(labels) - 1}, and 5000 is none"):
        task.explained(network, seen, "5000")


def test_task_without_a_score_explains_nothing():
    assert Denoising(DataInfo()).explained(nn.Identity(), inputs(), None) is None
