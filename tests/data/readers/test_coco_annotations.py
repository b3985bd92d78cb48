"""Malformed files of COCO keypoints, and people who do not lie on their image: what both readers report."""

import json

import numpy as np
import pytest
import torch

from tests.data.readers.trees import COCO_JOINTS, coco
from unpool.data.readers import READERS
from unpool.data.store import scan
from unpool.errors import DataError
from unpool.types import IGNORE

NAN, INF = float("nan"), float("inf")
BOTH = ["coco_people", "coco_scenes"]


def annotations(root):
    return coco(root) / "annotations" / "person_keypoints_train2017.json"


def edited(root, change):
    """The tree with its annotations changed."""
    path = annotations(root)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return root


def first(part, **values):
    """A change of the first record of one part."""
    return lambda content: content[part][0].update(values)


def again(part, **values):
    """The first record of one part once more."""
    return lambda content: content[part].append(content[part][0] | values)


def without(part, key):
    return lambda content: content[part][0].pop(key)


def refusal(root, change):
    """What both readers say, which is one line."""
    told = []
    for name in BOTH:
        with pytest.raises(DataError) as caught:
            READERS[name](edited(root, change), "train")
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "\n" not in told[0]
    assert "person_keypoints_train2017.json is not a valid file of COCO keypoints: " in told[0]
    return told[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("images", "file_name"), "images[0] (id 0): has no file_name; expected a path"),
        (first("images", height=0), "images[0] (id 0): height is 0; expected 1 to 1000000 pixels"),
        (first("images", width=30.5), "images[0] (id 0): width is 30.5; expected 1 to"),
        (first("images", id="0"), "images[0]: id is '0'; expected a whole number"),
        (
            first("annotations", image_id=77),
            "annotations[0] (id 0): image_id is 77; expected the id of one of its images",
        ),
        (first("annotations", category_id=9), "category_id is 9; expected the id of one of its categories"),
        (without("annotations", "num_keypoints"), "annotations[0] (id 0): has no num_keypoints"),
        (first("annotations", iscrowd="no"), "iscrowd is 'no'; expected 0 or 1"),
        (first("annotations", area=NAN), "area is nan; expected a number of pixels"),
        (first("annotations", area=-5), "area is -5; expected"),
        (lambda c: c["annotations"].insert(0, [1]), "annotations[0] is [1]; expected an object"),
        (lambda c: c.update(annotations={}), "annotations is {}; expected a list"),
        (lambda c: c.pop("categories"), "categories is None; expected a list"),
    ],
)
def test_record_that_makes_no_sense_is_named_with_what_it_holds(tmp_path, change, message):
    assert message in refusal(tmp_path, change)


@pytest.mark.parametrize(
    "box",
    [[NAN, 0, 9, 9], [0, 0, INF, 9], [0, 0, 1e7, 9], [20, 20, -9, 9], [1, 2, 3], "abcd", ["1", 2, 3, 4], [10**400] * 4],
)
def test_box_is_four_finite_numbers_of_no_negative_size(tmp_path, box):
    assert "annotations[0] (id 0): bbox is " in refusal(tmp_path, first("annotations", bbox=box))


@pytest.mark.parametrize(
    "joints",
    [
        [1, 2, 2] * 16,
        [1, 2, 2] * 18,
        [[1, 2, 2]] * 17,
        [NAN, 2, 2] + [1, 2, 2] * 16,
        [1, INF, 0] + [1, 2, 2] * 16,
        [2e6, 2, 2] + [1, 2, 2] * 16,
        [1, 2, 3] + [1, 2, 2] * 16,
        ["1", 2, 2] + [1, 2, 2] * 16,
        [[1], 2, 2] + [1, 2, 2] * 16,
        None,
    ],
)
def test_joints_are_three_finite_numbers_each(tmp_path, joints):
    told = refusal(tmp_path, first("annotations", keypoints=joints))
    assert "annotations[0] (id 0): keypoints is " in told
    assert "expected 51 finite numbers, x, y and 0, 1 or 2 of each of 17 joints" in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            first("categories", name="human"),
            "0 of its categories are called 'person'; expected one; they are ['human']",
        ),
        (again("categories", id=2), "2 of its categories are called 'person'"),
        (first("categories", keypoints=["nose"] * 17), "keypoints is ['nose', 'nose'"),
        (first("categories", keypoints=[]), "keypoints is []; expected a list of different names"),
        (
            first("categories", skeleton=[[1, 30]]),
            "skeleton is [[1, 30]]; expected pairs of two different joints, counted",
        ),
        (first("categories", skeleton=[[0, 1]]), "skeleton is [[0, 1]]; expected"),
        (first("categories", skeleton=[[3, 3]]), "skeleton is [[3, 3]]; expected"),
        (first("categories", skeleton=[[1, 2, 3]]), "skeleton is [[1, 2, 3]]; expected"),
        (first("categories", skeleton="nose"), "skeleton is 'nose'; expected"),
        (without("categories", "skeleton"), "categories[0] (id 1): has no skeleton"),
    ],
)
def test_there_is_one_category_of_people_with_limbs_between_its_joints(tmp_path, change, message):
    assert message in refusal(tmp_path, change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (again("images", file_name="other.png"), "2 images have the id 0; expected each once"),
        (again("images", id=77), "2 images have the file_name '0.png'; expected each once"),
        (again("annotations"), "2 annotations have the id 0; expected each once"),
        (again("categories", name="dog"), "2 categories have the id 1; expected each once"),
    ],
)
def test_numbers_and_files_are_given_once(tmp_path, change, message):
    assert message in refusal(tmp_path, change)


@pytest.mark.parametrize(
    "name", ["../val2017/0.png", "a/../../0.png", "/etc/passwd", "C:\\0.png", "0\0.png", "", ".", "\ud800.png", 5, None]
)
def test_images_lie_below_their_folder(tmp_path, name):
    told = refusal(tmp_path, first("images", file_name=name))
    assert "images[0] (id 0): file_name is " in told
    assert "expected a path below the folder of the images" in told
    assert told.isprintable()


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b"[1]", r"it holds \[1\]; expected an object of images"),
        (b"7", "it holds 7; expected an object"),
        (b"", "JSONDecodeError"),
        (b"\xff\xfe{}", "UnicodeDecodeError: .* byte 0xff in position 0"),
    ],
)
def test_file_that_is_no_object_is_told_in_one_line(tmp_path, name, text, message):
    annotations(tmp_path).write_bytes(text)
    with pytest.raises(
        DataError, match=rf"^\S*person_keypoints_train2017.json is not a valid file of COCO keypoints: {message}"
    ):
        READERS[name](tmp_path, "train")


@pytest.mark.parametrize("name", BOTH)
def test_byte_order_mark_is_no_mistake(tmp_path, name):
    path = annotations(tmp_path)
    plain = READERS[name](tmp_path, "train")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert READERS[name](tmp_path, "train").names == plain.names


def test_other_categories_are_no_people(tmp_path):
    def dogs(content):
        content["categories"].append({"id": 18, "name": "dog"})
        content["annotations"].append({"id": 500, "image_id": 1, "category_id": 18})
        content["annotations"][0]["category_id"] = 18

    reader = READERS["coco_people"](edited(tmp_path, dogs), "train")
    assert reader.names[:2] == ["train2017/0.png/1", "train2017/1.png/10"]
    assert len(reader) == 5


def test_person_without_a_visible_joint_is_not_labelled_whatever_is_told(tmp_path):
    root = edited(tmp_path, first("annotations", keypoints=[0] * 51, num_keypoints=17))
    reader = READERS["coco_people"](root, "train")
    assert (len(reader), reader.origin["ignored"], reader.faults) == (5, 3, [])
    assert len(READERS["coco_scenes"](root, "train")[0]["people"]) == 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"bbox": [4, 4, 0, 20]}, "box of 0x20 pixels"),
        ({"bbox": [4, 4, 20, 0.0]}, "box of 20x0 pixels"),
        ({"bbox": [-60, 0, 40, 40]}, "box (-60, 0, -20, 40) lies beside its image of 30x40"),
        ({"bbox": [31, 0, 40, 40]}, "box (31, 0, 71, 40) lies beside its image of 30x40"),
        ({"keypoints": [-9, 8, 2] * 17}, "none of the 17 visible joints lies on its image of 30x40"),
        (
            {"keypoints": [9, 8, 2] * 16 + [9, 900, 1]},
            "box (4, 4, 26, 26) or joints, from 4 to 900, reach far beyond its image of 30x40",
        ),
    ],
)
def test_who_has_no_place_on_the_image_is_left_out_told_of_and_masked(tmp_path, values, reason):
    root = edited(
        tmp_path, first("annotations", segmentation=[[0, 30, 4, 30, 4, 39, 0, 39]], num_keypoints=17, **values)
    )
    people = scan(READERS["coco_people"](root, "train", square=None))
    assert people.faults == [("train2017/0.png/0", reason)]
    assert len(people.samples) == 5
    assert people.manifest["ignored"] == 2
    scenes = scan(READERS["coco_scenes"](root, "train"))
    assert scenes.faults == people.faults
    assert len(scenes.samples[0]["people"]) == 1
    assert (scenes.samples[0]["mask"][31:38, :2] == IGNORE).all()


@pytest.mark.parametrize("name", BOTH)
def test_nobody_with_a_place_is_an_error_that_says_where_the_first_one_is(tmp_path, name):
    def away(content):
        for one in content["annotations"]:
            one |= {"bbox": [900, 900, 5, 5], "keypoints": [902, 902, 2] * 17, "area": 20, "segmentation": []}

    with pytest.raises(DataError, match=r"no person of 1 joints or more on its image; 6 lie elsewhere, such as"):
        READERS[name](edited(tmp_path, away), "train")


def test_square_without_a_joint_in_it_is_left_out(tmp_path):
    root = edited(tmp_path, first("annotations", bbox=[20, 30, 8, 8], keypoints=[3, 4, 2] * 17, num_keypoints=17))
    result = scan(READERS["coco_people"](root, "train"))
    told = "none of the 17 visible joints lies on its image of 30x40 within the box"
    assert result.faults == [("train2017/0.png/0", told)]


def test_person_on_an_image_of_another_size_than_its_annotations_is_refused(tmp_path):
    root = edited(tmp_path, first("images", width=999, height=777))
    reader = READERS["coco_people"](root, "train")
    with pytest.raises(DataError, match=r"0.png: is 30x40, its annotations are of 999x777 pixels: restore the image"):
        scan(reader)
    with pytest.raises(DataError, match=r"0.png: is 30x40"):
        reader[0]


def test_joints_a_little_beyond_the_image_stay(tmp_path):
    joints = np.array([[9, 8, 2]] * 17)
    joints[3, 0] = -3
    root = edited(tmp_path, first("annotations", keypoints=joints.flatten().tolist(), num_keypoints=len(COCO_JOINTS)))
    sample = READERS["coco_people"](root, "train", square=None)[0]
    assert sample["keypoints"][3].equal(torch.tensor([-3.0, 8.0]))
    assert sample["visible"].all()
