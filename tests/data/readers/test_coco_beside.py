"""Segmentations that lie beside their boxes, areas that are those of nothing, and how they come to be."""

import json

import numpy as np
import pytest

from tests.data.readers.box_trees import HEIGHT, WIDTH, coco_instances
from tests.data.readers.trees import coco
from unpool.data.readers import READERS
from unpool.data.readers.coco_beside import find_beside
from unpool.errors import DataError

FILE = "annotations/instances_train2017.json"
LEFT, TOP, RIGHT, BOTTOM = 30, 4, 48, 16  # far from what is left of it with x and y exchanged
BOX = [LEFT, TOP, RIGHT - LEFT, BOTTOM - TOP]
CORNERS = [LEFT, TOP, RIGHT, TOP, RIGHT, BOTTOM, LEFT, BOTTOM]


def runs(*, by_rows=False):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[TOP:BOTTOM, LEFT:RIGHT] = True
    flat = mask.ravel() if by_rows else mask.T.ravel()
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(ends).tolist()}


SWAPPED = [value for x, y in zip(CORNERS[::2], CORNERS[1::2], strict=True) for value in (y, x)]
NO_PIXEL = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}


@pytest.mark.parametrize(
    ("segmentation", "is_beside"),
    [
        ([CORNERS], False),
        ([SWAPPED], True),
        ([[2 * value for value in CORNERS]], True),  # of the image before it was made smaller
        ([[LEFT, TOP, RIGHT, TOP, RIGHT, TOP + 20, LEFT, TOP + 20]], False),  # 12 of 20 rows are in it
        ([[LEFT, TOP, LEFT, TOP + 5, LEFT, TOP + 9]], False),  # a line
        (runs(), False),
        (runs(by_rows=True), True),
        (NO_PIXEL, False),
        ([], False),
    ],
)
def test_segmentation_that_lies_for_the_most_part_outside_of_its_box_is_known(segmentation, is_beside):
    assert find_beside([{"id": 1, "bbox": BOX, "segmentation": segmentation}]) == [is_beside]


def edited(root, change, count=20):
    """A set of which the first image has `count` things, each with the place of the second box; `change(i)` of each."""
    path = coco_instances(root) / FILE
    content = json.loads(path.read_text())
    thing = {"image_id": 0, "category_id": 3, "bbox": BOX, "area": 9.0, "iscrowd": 0, "segmentation": [CORNERS]}
    content["annotations"][:2] = [{**thing, **change(i), "id": 100 + i} for i in range(count)]
    path.write_text(json.dumps(content))
    return root


def test_few_segmentations_beside_their_boxes_are_left_out_with_them_and_said(tmp_path):
    root = edited(tmp_path, lambda i: {"segmentation": [SWAPPED]} if i == 3 else {})
    reader = READERS["coco_instances"](root, "train", masks=True)
    assert len(reader[0]["masks"]) == len(reader[0]["boxes"]) == 20  # 19 and the crowd
    assert [int(mask.sum()) for mask in reader[0]["masks"][1:]] == [216] * 19
    said = "1 of 23 segmentations lie for the most part outside of their boxes, such as that of annotation 103"
    assert f"{said}: left out with their boxes" in reader.notes
    assert len(READERS["coco_instances"](root, "train")[0]["boxes"]) == 21  # the boxes alone are right


def test_image_all_of_whose_segmentations_are_left_out_is_said_to_be_annotated(tmp_path):
    root = edited(tmp_path, lambda i: {"segmentation": [SWAPPED], "image_id": 14}, count=1)
    reader = READERS["coco_instances"](root, "train", masks=True)
    assert len(reader[2]["boxes"]) == 0
    assert not any("have no label" in note for note in reader.notes)


@pytest.mark.parametrize("kind", [[SWAPPED], runs(by_rows=True)])
def test_file_whose_segmentations_lie_beside_their_boxes_is_refused(tmp_path, kind):
    root = edited(tmp_path, lambda i: {"segmentation": kind} if i < 4 else {})
    with pytest.raises(DataError, match=r"4 of 23 segmentations .* annotation 100; expected x before y, .* by column"):
        READERS["coco_instances"](root, "train", masks=True)


def test_people_to_hide_one_of_whom_lies_elsewhere_are_said(tmp_path):
    path = coco(tmp_path) / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][2]["segmentation"] = [[28, 30, 30, 30, 30, 39]]
    path.write_text(json.dumps(content))
    assert any(
        "segmentations lie for the most part outside" in one for one in READERS["coco_scenes"](tmp_path, "train").notes
    )


def test_people_to_hide_whose_segmentations_lie_elsewhere_are_refused(tmp_path):
    path = coco(tmp_path) / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        one["segmentation"] = [[28, 30, 30, 30, 30, 39]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"segmentations lie for the most part outside of their boxes"):
        READERS["coco_scenes"](tmp_path, "train")


@pytest.mark.parametrize("area", [0, 1, 4 * BOX[2] * BOX[3]])
def test_areas_that_are_those_of_nothing_are_said_and_of_many_refused(tmp_path, area):
    few = edited(tmp_path / "few", lambda i: {"area": area} if i == 2 else {})
    said = f"1 of 22 areas are those of nothing in their boxes, such as {area} in {BOX} of annotation 102"
    assert f"{said}: taken as they are" in READERS["coco_instances"](few, "train").notes
    many = edited(tmp_path / "many", lambda i: {"area": area})
    with pytest.raises(DataError, match=r"20 of 22 areas .* small and large are told apart, and joints are measured"):
        READERS["coco_instances"](many, "train")


def test_areas_of_people_by_which_joints_are_measured_are_looked_at(tmp_path):
    path = coco(tmp_path) / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        one["area"] = 0
    path.write_text(json.dumps(content))
    for name in ("coco_people", "coco_scenes"):
        with pytest.raises(DataError, match=r"areas are those of nothing .* width times height of its box"):
            READERS[name](tmp_path, "train")


def people(root, change):
    """The people of the first image of a set, whom `change` changes, are 24."""
    path = coco(root) / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    one = content["annotations"][0]
    content["annotations"] += [{**one, "id": 200 + i} for i in range(24)]
    change([each for each in content["annotations"] if each["id"] >= 200])
    path.write_text(json.dumps(content))
    return root


def at_origin(some):
    for one in some:
        one["keypoints"] = [0, 0, 2, *one["keypoints"][3:]]


def none_counted(some):
    for one in some:
        one["num_keypoints"] = 0


def test_labelled_joints_at_the_corner_are_said_and_of_many_refused(tmp_path):
    notes = READERS["coco_people"](people(tmp_path / "few", lambda some: at_origin(some[:1])), "train").notes
    said = "have a labelled joint at 0, 0 and their box elsewhere, such as annotation 200"
    assert any(f"1 of 31 people {said}: taken as they are" in note for note in notes)
    with pytest.raises(DataError, match=f"24 of 31 people {said}; expected 0 as third number where a joint is not"):
        READERS["coco_people"](people(tmp_path / "many", at_origin), "train")


def test_people_of_whom_fewer_joints_are_counted_than_labelled_are_said(tmp_path):
    reader = READERS["coco_people"](people(tmp_path, none_counted), "train")
    said = "people have fewer num_keypoints than labelled joints, such as 0 and "
    assert any(said in note and note.endswith(": the smaller number counts") for note in reader.notes)
    path = tmp_path / "annotations/person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    none_counted(content["annotations"])
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"no person of 1 joints or more; lower data\.least_joints; .* {said}"):
        READERS["coco_people"](tmp_path, "train")
