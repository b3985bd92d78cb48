"""Boxes in another form than that of their reader are refused with the form that fits, not trained on in part."""

import numpy as np
import pytest

from tests.cases.test_boxes import with_boxes
from tests.data.readers.box_trees import HEIGHT, WIDTH, cub, picture
from unpool.data.readers import READERS
from unpool.data.readers.box_forms import CENTRES, CORNERS, SIZES, doubt_of
from unpool.errors import DataError

ENDS = np.array([WIDTH, HEIGHT])


def corners(count=40, seed=0):
    """Boxes of all sizes anywhere on the image."""
    ends = np.random.default_rng(seed).uniform(0, ENDS - 3, (2, count, 2))
    return np.concatenate([ends.min(0), ends.max(0) + 3], axis=1)


def written_as(form, boxes):
    low, high = boxes[:, :2], boxes[:, 2:]
    first, second = {
        CORNERS: (low, high),
        SIZES: (low, high - low),
        CENTRES: ((low + high) / 2, high - low),
        "left, right, top, bottom": (boxes[:, [0, 2]], boxes[:, [1, 3]]),
    }[form]
    return np.concatenate([first, second], axis=1)


@pytest.mark.parametrize("form", [SIZES, CENTRES, "left, right, top, bottom"])
@pytest.mark.parametrize("name", ["voc", "boxes_csv"])
def test_file_of_another_form_is_refused_with_that_form(tmp_path, name, form):
    says = (
        rf"^boxes such as that of .*(object|line) \d+: \d+ of 40 boxes fit no image as {CORNERS}, and all do as {form}"
    )
    with pytest.raises(DataError, match=says):
        with_boxes(name, tmp_path, written_as(form, corners()).tolist())


@pytest.mark.parametrize("form", [CORNERS, SIZES])
def test_labels_of_yolo_that_are_no_centres_are_refused_with_their_form(tmp_path, form):
    first, second = np.split(written_as(form, corners()), 2, axis=1)
    says = rf"labels/a/a.txt line \d+: \d+ of 40 boxes fit no image as {CENTRES}, and all do as {form}: write"
    with pytest.raises(DataError, match=says):
        with_boxes("yolo", tmp_path, np.concatenate([first - second / 2, first + second / 2], axis=1).tolist())


@pytest.mark.parametrize("name", ["voc", "coco_instances", "boxes_csv"])
def test_fractions_of_the_image_are_no_pixels(tmp_path, name):
    boxes = corners() / np.tile(ENDS, 2)
    with pytest.raises(DataError, match=r"all boxes are numbers up to 1, fractions of the image; expected pixels"):
        with_boxes(name, tmp_path, boxes.tolist())


@pytest.mark.parametrize("count", [4, 5])
def test_more_than_a_tenth_of_boxes_without_extent_are_refused(count):
    boxes = corners()
    boxes[:count, 2] = boxes[:count, 0]
    ends = np.tile(ENDS, (len(boxes), 1))
    doubt = f"{count} of 40 boxes have no extent as {CORNERS}, or lie beside their image: check how they"
    doubt += " and the sizes of their images were exported"
    assert doubt_of(boxes, ends, CORNERS) == (doubt if count > 4 else "")
    assert doubt_of(boxes[:19], ends[:19], CORNERS) == ""


def test_boxes_that_their_image_cuts_are_clipped_however_many_they_are():
    boxes = np.add(corners(), [-9, -9, 9, 9])
    assert doubt_of(boxes, np.tile(ENDS, (len(boxes), 1)), CORNERS) == ""


def test_box_of_one_pixel_is_no_fraction_on_an_image_of_seven():
    assert doubt_of(np.array([[0, 0, 1, 1]]), np.array([[7, 7]]), CORNERS) == ""
    assert doubt_of(np.array([[0, 0, 1, 1]]), np.array([[8, 8]]), CORNERS).startswith("all boxes are numbers up to 1")


def test_file_of_birds_that_has_corners_is_refused(tmp_path):
    root = cub(tmp_path)
    numbers = range(2, 62, 3)
    lines = (root / "images.txt").read_text().splitlines()
    for i, number in enumerate(numbers):
        if i > 4:
            lines.append(f"{number} 001.Ani/{i}.png")
            picture(root / "images" / "001.Ani" / f"{i}.png", i)
    (root / "images.txt").write_text("\n".join(lines))
    for name, value in (("image_class_labels", 1), ("train_test_split", 1), ("bounding_boxes", "30 20 50 38")):
        (root / f"{name}.txt").write_text("".join(f"{number} {value}\n" for number in numbers))
    with pytest.raises(DataError, match=rf"20 of 20 boxes fit no image as {SIZES}, and all do as {CORNERS}: write"):
        READERS["cub"](root, "train")
