"""OKS-AP, held to pycocotools on generated images and on those of COCO."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unpool.data.augment.targets import stack_targets
from unpool.data.readers import READERS
from unpool.metrics.oks import Annotated, AveragePrecision, deviations
from unpool.metrics.people import PeopleScores
from unpool.metrics.pose import PoseScores
from unpool.ops.skeleton import COCO_NECK_LIMBS, LSP
from unpool.types import IGNORE, DataInfo

JOINTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
NAMES = ("nose", *(f"{side}_{joint}" for joint in JOINTS for side in ("left", "right")))
INFO = DataInfo(keypoints=NAMES, limbs=((0, 1), (5, 7)))
AP = ("oks_ap", "oks_ap50", "oks_ap75")


def reference(annotations, poses, *, images, sigmas=None):
    """What pycocotools counts: annotations of COCO's format, and poses as (image, (K, 2) joints, score)."""
    people = COCO()
    people.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    found = [
        {"image_id": i, "category_id": 1, "score": s, "keypoints": np.c_[xy, np.ones(len(xy))].reshape(-1).tolist()}
        for i, xy, s in poses
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        people.createIndex()
        counted = COCOeval(people, people.loadRes(found), "keypoints")
        if sigmas is not None:
            counted.params.kpt_oks_sigmas = np.array(sigmas)
        counted.evaluate()
        counted.accumulate()
    precision = counted.eval["precision"][:, :, 0, 0, 0].mean(1)
    return dict(zip(AP, (precision.mean(), precision[0], precision[5]), strict=True))


def person(rng, image, number, *, kind="labelled", area=True, joints=17):
    """An annotation of COCO's format."""
    left, top, width, height = *rng.uniform(0, 300, 2), *rng.uniform(20, 200, 2)
    points = np.zeros((joints, 3))
    if kind == "labelled":
        points[:, :2] = rng.uniform((left, top), (left + width, top + height), (joints, 2)).round(2)
        points[:, 2] = rng.integers(0, 3, joints)
        points[0, 2] = 2
        points[points[:, 2] == 0] = 0
    return {
        **{"id": number, "image_id": image, "category_id": 1, "iscrowd": int(kind == "crowd")},
        **{"keypoints": points.reshape(-1).tolist(), "num_keypoints": int((points[:, 2] > 0).sum())},
        **{"bbox": [left, top, width, height], "area": 0.5 * width * height * area},
    }


def poses_of(rng, annotations, image, *, shift, count=1, joints=17, ties=False):
    """(image, joints, score) about each annotated person, a few for a crowd, and two of nobody."""
    poses = []
    for one in annotations:
        points, (left, top, width, height) = np.array(one["keypoints"]).reshape(-1, 3), one["bbox"]
        anywhere = rng.uniform((left, top), (left + width, top + height), (joints, 2))
        base = np.where(points[:, 2:] > 0, points[:, :2], anywhere)
        for _ in range(count if one["num_keypoints"] else 3):
            moved = base + shift * one["area"] ** 0.5 * rng.standard_normal((joints, 2))
            poses.append((image, moved, float(rng.integers(3)) if ties else rng.random()))
    strays = [(image, rng.uniform(0, 400, (joints, 2)), 1.0 if ties else rng.random()) for _ in range(2)]
    return poses + strays


def batch_of(annotations, index, joints=17):
    """One image as `coco_scenes` gives it."""
    is_labelled = [bool(one["num_keypoints"] and not one["iscrowd"]) for one in annotations]
    kept = [one for one, known in zip(annotations, is_labelled, strict=True) if known]
    others = [one for one, known in zip(annotations, is_labelled, strict=True) if not known]
    points = torch.tensor([one["keypoints"] for one in kept], dtype=torch.float64).reshape(-1, joints, 3)
    box = [[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in kept + others)]
    box = torch.tensor(box, dtype=torch.float64).reshape(-1, 4)
    rows = [(one["area"], one["iscrowd"]) for one in kept + others]
    area, crowd = torch.tensor(rows, dtype=torch.float64).reshape(-1, 2).unbind(1)
    return {
        "people": [torch.where(points[..., 2:] > 0, points[..., :2], torch.nan)],
        **{"boxes": [box[: len(kept)]], "areas": [area[: len(kept)]], "index": torch.tensor([index])},
        "ignored": [torch.cat([box, area[:, None], crowd[:, None]], dim=1)[len(kept) :]],
    }


def prediction_of(poses, joints=17):
    people = torch.from_numpy(np.array([xy for _, xy, _ in poses]).reshape(-1, joints, 2))
    return {"people": [people], "score": [torch.tensor([s for *_, s in poses], dtype=torch.float64)]}


KINDS = {
    "labelled": ["labelled"] * 5,
    "crowds": ["labelled", "labelled", "crowd", "nobody"],
    "only crowds": ["crowd", "crowd"],
    "only without joints": ["nobody"],
    "none": [],
    "more than twenty": ["labelled"] * 24,
    "few": ["labelled"],
}


def generated(seed, *, shift=0.05, kinds=KINDS, **options):
    """Annotations and poses of each of a few images."""
    rng, people, poses = np.random.default_rng(seed), [], []
    for image, names in enumerate(kinds.values(), 1):
        drawn = [person(rng, image, 100 * image + n, kind=kind, area=n != 1) for n, kind in enumerate(names)]
        people.append(drawn)
        poses.append(poses_of(rng, drawn, image, shift=shift, **options))
    return people, poses


def flat(lists):
    return [one for part in lists for one in part]


def score_of(people, poses, *, order=None, parts=1):
    """PeopleScores of the images in some order, in a few parts that are merged."""
    metrics = [PeopleScores(INFO) for _ in range(parts)]
    for turn, i in enumerate(range(len(people)) if order is None else order):
        metrics[turn % parts].update(prediction_of(poses[i]), batch_of(people[i], i))
    for other in metrics[1:]:
        metrics[0].merge(other)
    return {name: metrics[0].compute()[name] for name in AP}


@pytest.mark.parametrize("options", [{}, {"count": 3}, {"ties": True}, {"ties": True, "count": 2}], ids=str)
@pytest.mark.parametrize("shift", [0.0, 0.03, 0.08, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_precision_is_that_of_pycocotools(seed, shift, options):
    people, poses = generated(seed, shift=shift, **options)
    images = [{"id": i} for i in range(1, len(people) + 1)]
    expected = reference(flat(people), flat(poses), images=images)
    assert score_of(people, poses) == pytest.approx(expected, abs=1e-6)
    assert 0 < expected["oks_ap50"] < 1


def test_parts_of_the_set_in_any_order_give_the_precision_of_the_whole():
    people, poses = generated(7, shift=0.05, ties=True)
    whole = score_of(people, poses)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(people))
        assert score_of(people, poses, order=order, parts=3) == whole


def test_skeleton_of_other_joints_has_its_own_deviations():
    rng = np.random.default_rng(0)
    names = ("LShoulder", "RShoulder", "tail", "LHip")
    drawn = [person(rng, 1, n + 1, joints=4) for n in range(6)]
    poses = poses_of(rng, drawn, 1, shift=0.08, joints=4)
    metric = PeopleScores(DataInfo(keypoints=names, limbs=((0, 1),)))
    metric.update(prediction_of(poses, 4), batch_of(drawn, 0, 4))
    sigmas = [0.079, 0.079, 0.079, 0.107]
    assert deviations(names).tolist() == sigmas
    expected = reference(drawn, poses, images=[{"id": 1}], sigmas=sigmas)
    assert {name: metric.compute()[name] for name in AP} == pytest.approx(expected, abs=1e-6)


def test_neck_made_of_coco_s_shoulders_has_no_part_and_others_have():
    people, poses = generated(3)
    order = list(dict.fromkeys(name for limb in COCO_NECK_LIMBS for name in limb if name != "neck"))
    info = DataInfo(keypoints=(*order, "neck"), limbs=((0, 1),))
    columns = [NAMES.index(name) for name in order]
    metric = PeopleScores(info)
    for i, (drawn, found) in enumerate(zip(people, poses, strict=True)):
        batch, prediction = batch_of(drawn, i), prediction_of(found)
        for content in (batch, prediction):
            joints = content["people"][0][:, columns]
            content["people"] = [torch.cat([joints, torch.rand(len(joints), 1, 2).double()], dim=1)]
        metric.update(prediction, batch)
    assert {name: metric.compute()[name] for name in AP} == pytest.approx(score_of(people, poses), abs=1e-12)
    assert deviations(LSP)[LSP.index("neck")] == deviations(LSP)[LSP.index("head_top")] == 0.079


def test_people_without_boxes_for_the_ignored_are_left_out_by_the_mask():
    joints = torch.rand(2, 17, 2, generator=torch.Generator().manual_seed(0)).double() * 40
    stray, mask = joints[:1] + 60, torch.zeros(120, 120, dtype=torch.int64)
    mask[60:, 60:] = IGNORE
    found = {"people": [torch.cat([stray, joints])], "score": [torch.tensor([3.0, 1.0, 1.0])]}
    batch = {"people": [joints], "areas": [torch.tensor([900.0, 900.0])], "mask": [mask]}
    boxes = torch.tensor([[60.0, 60.0, 100.0, 100.0, 900.0, 1.0]])
    for more, expected in (({}, 1.0), ({"ignored": [boxes]}, 1.0), ({"ignored": [boxes[:0]]}, pytest.approx(2 / 3))):
        metric = PeopleScores(INFO)
        metric.update(found, batch | more)
        assert metric.compute()["oks_ap50"] == expected
        assert metric.compute()["people_ratio"] == 1.0


def test_who_has_no_joints_and_no_box_is_left_out():
    joints = torch.rand(2, 17, 2).double() * 40
    joints[1] = torch.nan
    batch = {"people": [joints], "areas": [torch.tensor([900.0, 900.0])]}
    people = torch.cat([torch.zeros(1, 17, 2).double(), joints[:1]])
    at_the_corner = {"people": [people], "score": [torch.tensor([2.0, 1.0])]}
    metric = PeopleScores(INFO)
    metric.update(at_the_corner, batch)
    assert metric.compute()["oks_ap"] == pytest.approx(0.5)
    metric = PeopleScores(INFO)
    metric.update(at_the_corner, batch | {"boxes": [torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 2)]})
    assert metric.compute()["oks_ap"] == 1.0  # at the corner is the ignored one


def test_nobody_without_a_box_is_ignored_at_the_corner():
    joints = torch.rand(2, 17, 2).double() * 40
    truth = Annotated(joints, torch.tensor([[True], [False]]).expand(2, 17), torch.tensor([900.0, 900.0]))
    precision = AveragePrecision(deviations(NAMES))
    precision.add(torch.cat([torch.zeros(1, 17, 2), joints[:1]]), torch.tensor([2.0, 1.0]), truth)
    assert precision.compute()["oks_ap"] == pytest.approx(0.5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_pose_that_is_not_finite_is_wrong(value):
    joints = torch.rand(1, 17, 2).double() * 40
    truth = Annotated(joints, torch.ones(1, 17, dtype=torch.bool), torch.tensor([900.0]))
    two = torch.cat([joints + 500, joints])
    for broken, score in ((joints * value, torch.ones(1)), (two, torch.tensor([1.0, value]))):
        precision = AveragePrecision(deviations(NAMES))
        precision.add(broken, score, truth)
        expected = 0.0 if len(broken) == 1 else 1.0 if value == torch.inf else 0.5
        assert precision.compute()["oks_ap"] == pytest.approx(expected)


def test_joint_that_was_not_predicted_is_wrong_though_its_person_stands_in_the_corner():
    joints = torch.rand(1, 17, 2).double()
    truth = Annotated(joints, torch.ones(1, 17, dtype=torch.bool), torch.tensor([1e6]))
    missing = joints.clone()
    missing[0, :8] = torch.nan
    precision = AveragePrecision(deviations(NAMES))
    precision.add(missing, torch.ones(1), truth)
    assert precision.compute() == pytest.approx({"oks_ap": 0.1, "oks_ap50": 1.0, "oks_ap75": 0.0})  # 9 of 17: 0.53


def test_nobody_predicted_is_nothing_and_nobody_labelled_is_no_score():
    people, poses = generated(0)
    assert score_of(people, [[] for _ in poses]) == dict.fromkeys(AP, 0.0)
    empty = PeopleScores(INFO)
    empty.update(prediction_of(poses[2]), batch_of(people[2], 0))
    assert "oks_ap" not in empty.compute()


def test_precision_of_single_people_is_that_of_an_image_for_each():
    rng = np.random.default_rng(0)
    drawn = [person(rng, n + 1, n + 1) for n in range(12)]
    poses = [poses_of(rng, [one], one["image_id"], shift=0.06)[0] for one in drawn]
    poses[11] = (*poses[11][:2], 2.0)  # counted as wrong, it would come before all others
    points = torch.tensor([one["keypoints"] for one in drawn], dtype=torch.float64).reshape(-1, 17, 3)
    batch = {
        **{"keypoints": points[..., :2], "visible": points[..., 2] > 0, "index": torch.arange(12)},
        "area": torch.tensor([one["area"] for one in drawn], dtype=torch.float64),
    }
    batch["visible"][11] = False  # ignored, as COCO does
    expected = reference(drawn[:11], poses[:11], images=[{"id": n + 1} for n in range(11)])
    metric = PoseScores(INFO)
    score = torch.tensor([s for *_, s in poses], dtype=torch.float64)[:, None].expand(12, 17)
    metric.update({"keypoints": torch.from_numpy(np.array([xy for _, xy, _ in poses])), "score": score}, batch)
    assert {name: metric.compute()[name] for name in AP} == pytest.approx(expected, abs=1e-6)


@pytest.mark.data
@pytest.mark.parametrize(
    ("split", "empty", "neck"),
    [("train", False, False), ("val", False, False), ("val", True, False), ("val", True, True)],
)
def test_precision_on_photographs_of_coco_is_that_of_pycocotools(shared_data, split, empty, neck):
    root = shared_data / "coco_mini"
    content = json.loads((root / "annotations" / f"person_keypoints_{split}2017.json").read_text())
    reader = READERS["coco_scenes"](root, split, empty=empty, neck=neck)
    ids = {image["file_name"]: image["id"] for image in content["images"]}
    used = [ids[name.split("/")[1]] for name in reader.names]
    people = [[one for one in content["annotations"] if one["image_id"] == i] for i in used]
    for seed, shift in enumerate((0.02, 0.1)):
        rng, poses, metric = np.random.default_rng(seed), [], PeopleScores(reader.info)
        for i, drawn in enumerate(people):
            poses.append(poses_of(rng, drawn, used[i], shift=shift))
            prediction = prediction_of(poses[-1])
            if neck:
                prediction["people"][0] = torch.cat([prediction["people"][0], torch.zeros(len(poses[-1]), 1, 2)], dim=1)
            metric.update(prediction, stack_targets([reader.targets(i) | {"index": torch.tensor(i)}]))
        expected = reference(flat(people), flat(poses), images=[{"id": i} for i in used])
        assert {name: metric.compute()[name] for name in AP} == pytest.approx(expected, abs=1e-6)
    assert empty == (len(reader) == len(content["images"]))
