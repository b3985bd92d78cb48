"""Whole images of COCO: who is labelled, who is not, and what the mask says."""

import json
import time

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from tests.data.readers.trees import coco, run_lengths
from unpool.data.decode import decode_image
from unpool.data.polygons import fill_polygon
from unpool.data.readers import READERS
from unpool.data.readers.coco_regions import Region, draw_region, region_of
from unpool.data.store import scan
from unpool.errors import DataError, RecipeError
from unpool.types import IGNORE, RGB

LIMBS = """
neck-right_shoulder neck-left_shoulder right_shoulder-right_elbow right_elbow-right_wrist left_shoulder-left_elbow
left_elbow-left_wrist neck-right_hip right_hip-right_knee right_knee-right_ankle neck-left_hip left_hip-left_knee
left_knee-left_ankle neck-nose nose-right_eye right_eye-right_ear nose-left_eye left_eye-left_ear
right_shoulder-right_ear left_shoulder-left_ear
"""


def edited(root, change, part="train2017"):
    """The tree with its annotations changed."""
    path = coco(root) / "annotations" / f"person_keypoints_{part}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return root


def person(content, number):
    return next(one for one in content["annotations"] if one["id"] == number)


def test_scene_has_its_own_people_and_nan_where_a_joint_is_not_labelled(tmp_path):
    reader = READERS["coco_scenes"](coco(tmp_path), "val")
    assert reader.names == ["val2017/0.png", "val2017/1.png", "val2017/2.png"]
    content = json.loads((tmp_path / "annotations" / "person_keypoints_val2017.json").read_text())
    sample = reader[1]
    assert sample["people"].shape == (2, 17, 2)
    for row, number in enumerate((10, 11)):
        stored = torch.tensor(person(content, number)["keypoints"]).view(17, 3)
        known = stored[:, 2] > 0
        assert sample["people"][row][known].equal(stored[known, :2].float())
        assert sample["people"][row][~known].isnan().all()
    assert sample["boxes"].tolist() == [[4.0, 4.0, 26.0, 25.5]] * 2
    assert sample["areas"].tolist() == [200.5] * 2
    assert sample["image"].equal(decode_image(tmp_path / "val2017" / "1.png", RGB))
    assert (sample["mask"] == 0).all()
    assert len(reader[0]["people"]) == 2  # neither the crowd nor who has no joints


def test_crowds_and_people_without_joints_are_given_with_box_and_area(tmp_path):
    def crowd(content):
        person(content, 90).update(bbox=[2, 20, 8, 16], area=128)

    reader = READERS["coco_scenes"](edited(tmp_path, crowd), "train")
    assert reader[0]["ignored"].tolist() == [[2.0, 20.0, 10.0, 36.0, 128.0, 1.0], [4.0, 4.0, 26.0, 25.5, 200.5, 0.0]]
    assert reader[1]["ignored"].shape == (0, 6)
    few = READERS["coco_scenes"](tmp_path, "train", least_joints=12, empty=True)
    assert sum(len(few[i]["people"]) + len(few[i]["ignored"]) for i in range(len(few))) == 8
    assert scan(reader, memory=True).samples[1]["ignored"].shape == (0, 6)


def test_images_without_a_labelled_person_are_given_where_asked_for(tmp_path):
    def bare(content):
        content["images"].append({"id": -1, "file_name": "2.png", "height": 40, "width": 32})
        content["images"][2]["file_name"] = "1.png"
        content["images"][1]["file_name"] = "0.png"
        content["images"][0]["file_name"] = "3.png"
        for number in (20, 21):
            person(content, number).update(num_keypoints=0)

    root = edited(tmp_path, bare)
    assert READERS["coco_scenes"](root, "train").names == ["train2017/3.png", "train2017/0.png"]
    for neck in (False, True):
        reader = READERS["coco_scenes"](root, "train", empty=True, neck=neck)
        assert reader.names == [f"train2017/{i}.png" for i in (2, 3, 0, 1)]  # by the ids of the images
        assert reader.origin["ignored"] == 0
        assert [len(reader.targets(i)["people"]) for i in range(4)] == [0, 2, 2, 0]
        assert [len(reader.targets(i)["ignored"]) for i in range(4)] == [0, 2, 0, 2]
        assert reader.targets(0)["people"].shape == (0, 17 + neck, 2)
        assert (reader.targets(3)["mask"][6:24, 6:24] == IGNORE).all()

    def nobody(content):
        for one in content["annotations"]:
            one["num_keypoints"] = 0

    with pytest.raises(DataError, match="no person of 1 joints or more"):
        READERS["coco_scenes"](edited(tmp_path, nobody), "train", empty=True)


def test_mask_ignores_crowds_and_people_without_joints_but_nobody_who_is_labelled(tmp_path):
    mask = READERS["coco_scenes"](coco(tmp_path), "train")[0]["mask"]
    expected = torch.zeros(40, 30, dtype=torch.uint8)
    expected[20:36, 2:10] = IGNORE
    expected[:26, 4:26] = 0  # labelled people, one on the other, in front of the crowd
    expected[28:38, 20:28] = IGNORE
    edge = torch.zeros(40, 30, dtype=torch.bool)  # a polygon may or may not take its edge along
    edge[25:27, 3:27] = edge[3:27, 3:5] = edge[27:39, 19:21] = edge[27:39, 27:29] = True
    edge[27:29, 19:29] = edge[37:39, 19:29] = True
    assert mask[~edge].equal(expected[~edge])
    assert mask.unique().tolist() == [0, IGNORE]


def test_people_of_few_joints_are_ignored_not_forgotten(tmp_path):
    def few(content):
        person(content, 11)["num_keypoints"] = 3
        person(content, 11)["segmentation"] = [[5, 30, 15, 30, 15, 38, 5, 38]]

    reader = READERS["coco_scenes"](edited(tmp_path, few), "train", least_joints=4)
    assert len(reader[1]["people"]) == 1
    assert (reader[1]["mask"][31:37, 6:14] == IGNORE).all()
    assert (reader[1]["mask"][:29] == 0).all()


@pytest.mark.parametrize("region", [None, []])
@pytest.mark.parametrize("crowd", [0, 1])
def test_box_of_a_person_without_joints_and_without_a_region_is_ignored(tmp_path, region, crowd):
    def bare(content):
        person(content, 91).update(segmentation=region, bbox=[20, 28, 9.5, 60], iscrowd=crowd)
        if region is None:
            del person(content, 91)["segmentation"]

    mask = READERS["coco_scenes"](edited(tmp_path, bare), "train")[0]["mask"]
    assert (mask[29:, 21:29] == IGNORE).all()
    assert (mask[:25, 4:] == 0).all()
    assert (mask[27:, 11:19] == 0).all()


def test_empty_box_without_a_region_hides_nothing(tmp_path):
    def empty(content):
        person(content, 91).update(segmentation=[], bbox=[20, 28, 0, 10])

    mask = READERS["coco_scenes"](edited(tmp_path, empty), "train")[0]["mask"]
    assert (mask[:, 19:] == 0).all()


def test_neck_is_the_middle_of_both_shoulders_or_unknown(tmp_path):
    def shoulders(content):
        for number, (left, right) in ((0, (2, 2)), (1, (0, 2))):
            joints = np.array(person(content, number)["keypoints"]).reshape(17, 3)
            joints[5], joints[6] = (10 if left else 0, 12 if left else 0, left), (16, 13, right)
            person(content, number)["keypoints"] = joints.flatten().tolist()

    reader = READERS["coco_scenes"](edited(tmp_path, shoulders), "train", neck=True)
    plain = READERS["coco_scenes"](tmp_path, "train")
    people = reader[0]["people"]
    assert reader.info.keypoints == (*plain.info.keypoints, "neck")
    assert people[0, 17].tolist() == [13.0, 12.5]
    assert people[1, 17].isnan().all()
    assert people[:, :17].nan_to_num(-1).equal(plain[0]["people"].nan_to_num(-1))
    assert (17 in {joint for pair in reader.info.flip_pairs for joint in pair}) is False
    assert len(reader.info.flip_pairs) == 8


def test_body_with_a_neck_has_the_limbs_of_the_paper(tmp_path):
    info = READERS["coco_scenes"](coco(tmp_path), "train", neck=True).info
    assert [f"{info.keypoints[a]}-{info.keypoints[b]}" for a, b in info.limbs] == LIMBS.split()
    assert READERS["coco_scenes"](tmp_path, "train").info.limbs == ((15, 13), (5, 6))  # those of the file


def test_images_without_a_labelled_person_are_no_samples(tmp_path):
    def alone(content):
        for number in (10, 11):
            person(content, number)["num_keypoints"] = 0

    reader = READERS["coco_scenes"](edited(tmp_path, alone), "train")
    assert reader.names == ["train2017/0.png", "train2017/2.png"]
    assert reader.origin["ignored"] == 1
    with pytest.raises(DataError, match=r"no person of 18 joints or more; lower data.least_joints"):
        READERS["coco_scenes"](tmp_path, "train", least_joints=18)
    with pytest.raises(RecipeError, match=r"data.least_joints is 0"):
        READERS["coco_scenes"](tmp_path, "train", least_joints=0)


@pytest.mark.parametrize("corner", [True, False])
def test_runs_go_down_the_columns(corner):
    mask = np.random.default_rng(0).random((7, 5)) < 0.5
    mask[0, 0] = corner
    found = draw_region(region_of({"id": 1, "segmentation": run_lengths(mask)}), (7, 5))
    assert np.array_equal(found, mask)
    stripe = {"size": [3, 4], "counts": [3, 3, 6]}  # the second column
    expected = np.zeros((3, 4), bool)
    expected[:, 1] = True
    assert np.array_equal(draw_region(region_of({"id": 1, "segmentation": stripe}), (3, 4)), expected)


def polygon(kind, rng):
    count = int(rng.integers(3, 40))
    if kind == "random":
        return rng.uniform(-20, 80, (count, 2))
    if kind == "whole":
        return rng.integers(-5, 50, (count, 2)).astype(float)
    if kind == "walk":
        return rng.normal(0, 2, (count, 2)).cumsum(0) + 20
    corners = rng.integers(0, rng.integers(2, 7), (count * rng.integers(1, 9), 2)) * float(rng.integers(1, 12))
    return np.concatenate([corners, corners[:1]]) if kind == "closed" else corners


@pytest.mark.parametrize("kind", ["random", "whole", "walk", "repeated", "closed"])
def test_polygons_are_filled_as_by_pillow_pixel_for_pixel(kind):
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 60, 2).tolist()
        corners = polygon(kind, rng).astype(np.float32)
        picture = Image.new("1", (width, height))
        ImageDraw.Draw(picture).polygon([(float(x), float(y)) for x, y in corners], fill=1)
        assert (fill_polygon(corners, (height, width)) == np.array(picture)).all()


def test_polygon_is_filled_alike_in_any_number_of_parts(monkeypatch):
    corners = np.random.default_rng(0).uniform(-10, 70, (300, 2))
    whole = fill_polygon(corners, (50, 60))
    monkeypatch.setattr("unpool.data.polygons._MOST", 200)
    assert (fill_polygon(corners, (50, 60)) == whole).all()


@pytest.mark.parametrize("kind", ["circle", "comb"])
def test_polygon_of_a_million_corners_is_drawn_in_seconds(kind):
    count = 1_000_000
    turn = np.linspace(0, 2 * np.pi, count)
    circle = np.stack([320 + 200 * np.cos(turn), 240 + 200 * np.sin(turn)], axis=1)
    comb = np.stack([np.linspace(0, 640, count), np.where(np.arange(count) % 2, 10, 470)], axis=1)
    corners = {"circle": circle, "comb": comb}[kind]
    start = time.process_time()
    drawn = draw_region(Region(1, polygons=(corners.astype(np.float32),)), (480, 640))
    assert time.process_time() - start < 10
    assert drawn.sum() == pytest.approx({"circle": np.pi * 200**2, "comb": 640 * 461}[kind], rel=0.01)


def test_polygons_are_filled_where_they_lie():
    corners = [10.0, 5.0, 50.0, 5.0, 50.0, 25.0, 10.0, 25.0]
    inside = draw_region(region_of({"id": 1, "segmentation": [corners, [0, 30, 8, 30, 8, 38]]}), (40, 60))
    assert inside[6:24, 11:49].all()
    assert not inside[:4].any()
    assert not inside[5:25, :9].any()
    assert not inside[:27, 52:].any()
    assert inside[31, 6]
    assert not inside[36, 2]
    assert abs(int(inside[:28].sum()) - 800) <= 61  # half a pixel around it


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (
            {"size": [40, 30], "counts": [100, 20]},
            "annotation 90 is a mask of 30x40 with runs of 120 pixels; its image",
        ),
        ({"size": [30, 40], "counts": [1000, 200]}, "annotation 90 is a mask of 40x30 with runs of 1200 .* is 30x40"),
        ({"size": [40, 30], "counts": [1300, -100]}, "annotation 90 is a mask of 30x40"),
    ],
)
def test_runs_that_do_not_fill_the_image_name_annotation_and_file(tmp_path, segmentation, message):
    root = edited(tmp_path, lambda content: person(content, 90).update(segmentation=segmentation))
    reader = READERS["coco_scenes"](root, "train")
    for memory in (True, False):
        with pytest.raises(DataError, match=f"train2017/0.png: {message}"):
            scan(reader, memory=memory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: person(c, 90).update(segmentation={"size": [40, 30], "counts": "PPYo"}),
            "annotation 90: run lengths 'PPYo' are cut off within a number",
        ),
        (
            lambda c: person(c, 90).update(segmentation={"size": [40, 30], "counts": "05"}),
            "annotation 90: run lengths cover 5 pixels.* the 1200 of an image",
        ),
        (
            lambda c: person(c, 90).update(segmentation={"size": ["40", 30], "counts": "05"}),
            r"annotation 90: run lengths have size \['40', 30\]",
        ),
        (lambda c: person(c, 91).update(segmentation=[[1, 2, 3]]), "91 has a polygon of 3 numbers"),
        (lambda c: person(c, 91).update(segmentation=[[1, 2] * 3, [1, 2]]), "91 has a polygon of 2 numbers"),
        (
            lambda c: person(c, 91).update(segmentation=[[1, 2] * 3 + [9e9, 2]]),
            "91 has a polygon beyond 1000000 pixels",
        ),
        (
            lambda c: person(c, 91).update(segmentation=[[1, float("nan")] * 3]),
            "91 has a polygon beyond 1000000 pixels",
        ),
        (
            lambda c: person(c, 91).update(segmentation=[["a"] * 6]),
            "91 has a segmentation that is neither polygons nor run lengths",
        ),
        (lambda c: person(c, 91).update(segmentation=7), "91 has a segmentation that is neither .*: TypeError"),
        (
            lambda c: person(c, 91).update(segmentation={"counts": [1]}),
            "91 has a segmentation that is neither .*'size'",
        ),
        (lambda c: person(c, 91).update(segmentation={"size": [40, 30], "counts": [10**30]}), "91 .*: OverflowError"),
        (
            lambda c: person(c, 1).update(keypoints=[1, 2, 2] * 16),
            r"annotations.1. .id 1.: keypoints is .* of 48 values; expected 51",
        ),
        (lambda c: person(c, 1).update(image_id=77), "image_id is 77; expected the id of one of its images"),
        (lambda c: c["categories"][0].update(name="dog"), "0 of its categories are called 'person'; .*'dog'"),
        (lambda c: c.pop("images"), "images is None; expected a list"),
    ],
)
def test_annotations_that_make_no_sense_name_their_file(tmp_path, change, message):
    with pytest.raises(DataError, match=rf"person_keypoints_train2017.json is not .*{message}"):
        READERS["coco_scenes"](edited(tmp_path, change), "train")


def test_neck_needs_the_joints_of_coco(tmp_path):
    def renamed(content):
        content["categories"][0]["keypoints"][5] = "left_wing"

    with pytest.raises(DataError, match="not a valid file of COCO keypoints"):
        READERS["coco_scenes"](edited(tmp_path, renamed), "train", neck=True)


def test_broken_files_and_missing_ones_are_told(tmp_path):
    path = coco(tmp_path) / "annotations" / "person_keypoints_val2017.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(
        DataError, match=r"person_keypoints_val2017.json is not a valid file of COCO keypoints: JSONDecode"
    ):
        READERS["coco_scenes"](tmp_path, "val")
    path.unlink()
    with pytest.raises(DataError, match=r"no val split; looked for annotations/person_keypoints_val2017.json"):
        READERS["coco_scenes"](tmp_path, "val")
    (tmp_path / "train2017" / "1.png").unlink()
    result = scan(READERS["coco_scenes"](tmp_path, "train"))
    assert list(result.samples.names) == ["train2017/0.png", "train2017/2.png"]
    assert [fault.path.endswith("train2017/1.png") for fault in result.faults] == [True]


def test_image_of_another_size_than_its_annotations_is_refused(tmp_path):
    root = edited(tmp_path, lambda content: content["images"][2].update(height=41))
    with pytest.raises(DataError, match=r"2.png: is 32x40, its annotations are of 32x41 pixels"):
        scan(READERS["coco_scenes"](root, "train"))


@pytest.mark.data
def test_coco_s_scenes_are_those_of_the_public_set(shared_data):
    if not (shared_data / "coco_mini").is_dir():
        pytest.skip("no coco_mini")
    train, val = (READERS["coco_scenes"](shared_data / "coco_mini", split, neck=True) for split in ("train", "val"))
    assert (len(train), len(val)) == (42, 16)
    samples = [reader.targets(i) for reader in (train, val) for i in range(len(reader))]
    assert sum(len(sample["people"]) for sample in samples) == 121 + 47
    assert sum(bool((sample["mask"] == IGNORE).any()) for sample in samples) == 27
    for sample in samples:  # joints that are labelled lie on their own people, which are never ignored
        points = sample["people"].flatten(0, 1)
        x, y = points[~points.isnan().any(1)].round().long().T
        x, y = x.clamp(max=sample["mask"].shape[1] - 1), y.clamp(max=sample["mask"].shape[0] - 1)
        assert (sample["mask"][y, x] == IGNORE).float().mean() < 0.2


@pytest.mark.data
def test_regions_of_the_public_set_have_the_areas_and_boxes_that_it_says(shared_data):
    path = shared_data / "coco_mini" / "annotations" / "person_keypoints_train2017.json"
    if not path.is_file():
        pytest.skip("no coco_mini")
    content = json.loads(path.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    for one in content["annotations"]:
        region = region_of(one)
        drawn = draw_region(region, sizes[one["image_id"]])
        around = sum(np.linalg.norm(p - np.roll(p, 1, axis=0), axis=1).sum() for p in region.polygons)
        assert one["iscrowd"] or abs(drawn.sum() - one["area"]) < 0.7 * around  # what is said of crowds is no count
        rows, columns = np.nonzero(drawn)
        left, top, width, height = one["bbox"]
        assert columns.min() >= left - 2
        assert columns.max() <= left + width + 2
        assert rows.min() >= top - 2
        assert rows.max() <= top + height + 2
