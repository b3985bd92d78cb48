"""Generated scenes for detectors: boxes and masks of what shows, classes without a background."""

import pytest
import torch

from unpool.data.box_scenes import BoxScenes
from unpool.data.store import scan
from unpool.data.synthetic import Scenes
from unpool.errors import DataError


def test_boxes_masks_and_areas_are_those_of_the_pixels_that_show() -> None:
    scenes = BoxScenes(count=12, side=32, masks=True)
    assert scenes.gives == tuple(scenes[0]) == ("image", "boxes", "labels", "areas", "masks")
    assert scenes.info.classes == ("disc", "square", "triangle")
    for sample in (scenes[i] for i in range(12)):
        assert sample["masks"].sum(0).max() <= 1  # a pixel shows one object
        assert sample["areas"].tolist() == sample["masks"].sum((1, 2)).tolist()
        assert (sample["areas"] >= 40).all()
        for mask, box in zip(sample["masks"], sample["boxes"].tolist(), strict=True):
            rows, columns = mask.nonzero().unbind(1)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_scenes_of_all_shapes_are_those_of_segmentation() -> None:
    shapes = ("disc", "square", "triangle", "cross")
    for index in range(4):
        known, sample = Scenes(count=4)[index], BoxScenes(count=4, classes=shapes, masks=True)[index]
        assert torch.equal(known["image"], sample["image"])
        assert torch.equal(known["boxes"], sample["boxes"])
        assert torch.equal(known["labels"], 1 + sample["labels"])  # there 0 is the background
        shown = sample["masks"].any(0)
        assert torch.equal(known["mask"][shown] > 0, shown[shown])


def test_order_of_the_classes_changes_numbers_only() -> None:
    first, turned = BoxScenes(count=2), BoxScenes(count=2, classes=("triangle", "square", "disc"))
    assert torch.equal(first[1]["image"], turned[1]["image"])
    assert torch.equal(first[1]["labels"], 2 - turned[1]["labels"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classes": ("disc", "star")}, "unknown classes 'star'"),
        ({"classes": ("disc", "disc")}, "expected each shape once"),
        ({"classes": ()}, "expected each shape once"),
        ({"side": 16}, "scenes of side 16"),
        ({"split": "trian"}, "no split 'trian'"),
    ],
)
def test_scenes_that_cannot_be_drawn_are_refused(options, says) -> None:
    with pytest.raises(DataError, match=says):
        BoxScenes(**options)


@pytest.mark.parametrize("masks", [True, False])
def test_scan_counts_boxes_and_images_of_each_class(masks):
    scenes = BoxScenes(count=6, masks=masks)
    result = scan(scenes)
    labels = [scenes[i]["labels"].tolist() for i in range(6)]
    counted = result.manifest["labels"]["labels"]
    assert list(counted["counts"].values()) == [sum(label.count(c) for label in labels) for c in range(3)]
    assert list(counted["images"].values()) == [sum(c in label for label in labels) for c in range(3)]
    with pytest.raises(IndexError):
        scenes[6]
