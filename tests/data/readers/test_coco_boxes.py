"""Boxes of people that are corners, fractions or beside their joints: found by the whole file, with what to do."""

import json

import numpy as np
import pytest

from tests.data.readers.trees import coco
from unpool.data.readers import READERS
from unpool.data.readers.coco import read_annotations
from unpool.data.readers.coco_boxes import check_boxes
from unpool.data.store import scan
from unpool.errors import DataError

SIZES = {0: (480, 640)}


def people(count=20, *, seed=0, region=True, joints=True, area=None):
    """People of plausible boxes on an image of 640x480, annotated as COCO does."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        width, height = rng.integers(20, 120, 2).tolist()
        left, top = int(rng.integers(0, 640 - width)), int(rng.integers(0, 480 - height))
        inside = np.stack([rng.uniform(left, left + width, 17), rng.uniform(top, top + height, 17), np.full(17, 2)], 1)
        edge = [left, top, left + width, top, left + width, top + height, left, top + height]
        made.append(
            {
                **{"id": number, "image_id": 0, "iscrowd": 0, "bbox": [left, top, width, height]},
                **{"area": width * height if area else 0.6 * width * height},
                **({"segmentation": [edge]} if region else {}),
                **{"keypoints": inside.flatten().tolist() if joints else [0] * 51},
            }
        )
    return made


def as_corners(one):
    left, top, width, height = one["bbox"]
    return {**one, "bbox": [left, top, left + width, top + height]}


EVIDENCE = [{}, {"region": False}, {"region": False, "joints": False}, {"region": False, "joints": False, "area": True}]


@pytest.mark.parametrize("known", EVIDENCE)
def test_boxes_as_coco_has_them_are_not_doubted(known):
    for seed in range(20):
        assert check_boxes(people(seed=seed, **known), SIZES) == []


@pytest.mark.parametrize("known", EVIDENCE)
def test_corners_in_the_place_of_sizes_are_refused_with_how_to_mend_them(known):
    wrong = [as_corners(one) for one in people(**known)]
    says = r"of 20 boxes fit image, polygons or joints better as corners, such as \[\d+, \d+, \d+, \d+\] of annotation"
    with pytest.raises(ValueError, match=says + r" \d+; expected .* subtract the first two numbers of each bbox"):
        check_boxes(wrong, SIZES)


def test_one_person_whose_box_is_corners_is_refused():
    with pytest.raises(ValueError, match="1 of 1 boxes fit"):
        check_boxes([as_corners(people(1)[0])], SIZES)


@pytest.mark.parametrize("known", [{"joints": False}, {"region": False, "area": True, "joints": False}])
def test_polygons_or_area_alone_tell_corners_from_sizes(known):
    (one,) = people(1, **known)
    moved = np.array([one["bbox"][0] - 60, one["bbox"][1] - 50])  # so that both readings lie on the image
    one["bbox"][:2] = [60, 50]
    if known.get("region", True):
        one["segmentation"] = [(np.reshape(one["segmentation"], (-1, 2)) - moved).flatten().tolist()]
    assert check_boxes([one], SIZES) == []
    with pytest.raises(ValueError, match="1 of 1 boxes fit"):
        check_boxes([as_corners(one)], SIZES)


def test_few_corners_among_sizes_are_told():
    made = people(40)
    made[7] = as_corners(made[7])
    (note, *_) = check_boxes(made, SIZES)
    assert note.startswith("1 of 40 boxes fit image, polygons or joints better as corners, such as ")
    assert note.endswith(" of annotation 7: taken for left, top, width, height as the others")


def test_boxes_that_are_fractions_of_the_image_are_refused():
    wrong = [{**one, "bbox": [x / 640 for x in one["bbox"]]} for one in people()]
    with pytest.raises(
        ValueError, match="all boxes are numbers up to 1, fractions of the image; expected pixels: mult"
    ):
        check_boxes(wrong, SIZES)


def test_joints_that_are_fractions_of_the_image_are_refused():
    wrong = [{**one, "keypoints": [0.5, 0.25, 2] * 17} for one in people()]
    with pytest.raises(ValueError, match="all joints are numbers up to 1"):
        check_boxes(wrong, SIZES)


def test_joints_outside_of_most_boxes_are_refused_and_of_few_are_told():
    made = people(12)
    swapped = [{**one, "keypoints": made[(i + 3) % 12]["keypoints"]} for i, one in enumerate(made)]
    with pytest.raises(ValueError, match=r"of 12 people have most of their joints outside of their box, such as \["):
        check_boxes(swapped, SIZES)
    (note,) = check_boxes([swapped[0], *made[1:]], SIZES)
    assert note.startswith("1 of 12 people have most of their joints outside of their box, such as")


@pytest.mark.parametrize("name", ["coco_people", "coco_scenes"])
def test_both_readers_refuse_corners_by_name_of_the_file(name, tmp_path):
    path = coco(tmp_path) / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"] = [as_corners(one) for one in content["annotations"]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"person_keypoints_train2017\.json is not .* subtract the first two numbers"):
        READERS[name](tmp_path, "train")


@pytest.mark.parametrize("name", ["coco_people", "coco_scenes"])
def test_doubtful_boxes_are_in_the_notes_of_the_scan(name, tmp_path):
    path = coco(tmp_path) / "annotations" / "person_keypoints_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0] = as_corners(content["annotations"][0])
    path.write_text(json.dumps(content))
    notes = scan(READERS[name](tmp_path, "train")).manifest["notes"]
    assert any("1 of 8 boxes fit image, polygons or joints better as corners" in note["note"] for note in notes)


@pytest.mark.data
@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_of_the_public_set_are_sizes_and_as_corners_refused(split, shared_data):
    content = read_annotations(shared_data / "coco_mini", split, least_joints=1)
    sizes = {number: size_hw for number, (_, size_hw) in content.images.items()}
    known = ["1 of 121 people have most of their joints outside of their box"] if split == "train" else []
    assert [note.partition(", ")[0] for note in check_boxes(content.people, sizes)] == known
    with pytest.raises(ValueError, match="subtract the first two numbers"):
        check_boxes([as_corners(one) for one in content.people], sizes)


def test_person_with_a_single_labelled_joint_is_counted():
    made = people(12)
    swapped = {**made[0], "keypoints": made[3]["keypoints"]}
    single = [{**one, "keypoints": [*one["keypoints"][:3], *[0] * 48]} for one in made[1:8]]
    none = [{**one, "keypoints": [0] * 51} for one in made[8:]]
    (note,) = check_boxes([swapped, *single, *none], SIZES)
    assert note.startswith("1 of 8 people have most of their joints outside of their box")
