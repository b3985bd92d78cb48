import math

import pytest
import torch

from unpool.metrics.pose import PoseScores, limbs_right
from unpool.ops.sides import flip_pairs
from unpool.ops.skeleton import LSP, LSP_LIMBS
from unpool.types import DataInfo

INFO = DataInfo(keypoints=LSP, flip_pairs=flip_pairs(LSP), limbs=LSP_LIMBS)
SHOULDER, HIP, NECK, TOP = (LSP.index(name) for name in ("left_shoulder", "right_hip", "neck", "head_top"))


def person(torso=50.0, head=20.0):
    """(1, 14, 2): all joints in one place but those that lengths are measured by."""
    joints = torch.full((1, 14, 2), 100.0)
    joints[0, SHOULDER, 1] = 100 - torso
    joints[0, TOP, 0] = 100 + head
    return joints


def truth_of(joints, visible=None):
    return {
        "keypoints": joints,
        "visible": torch.ones(joints.shape[:2], dtype=torch.bool) if visible is None else visible,
    }


def scores_of(found, truth, visible=None, **more):
    metric = PoseScores(INFO)
    metric.update({"keypoints": found, "score": torch.ones(found.shape[:2])}, truth_of(truth, visible) | more)
    return metric.compute()


def test_pck_is_the_share_of_joints_within_a_share_of_the_torso():
    found = person()
    found[0, 0, 0] += 10.0  # 0.2 of the torso: still right
    found[0, 1, 0] += 10.1
    found[0, 4, 0] += 4.9
    scores = scores_of(found, person())
    assert scores["pck@0.2"] == pytest.approx(13 / 14)
    assert scores["pck@0.1"] == pytest.approx(12 / 14)
    assert scores["pck@0.5"] == 1.0
    assert scores["pck_of_joints"]["right_knee"] == 0.0
    assert scores["pck_of_joints"]["right_ankle"] == 1.0


def test_torso_is_left_shoulder_to_right_hip():
    joints = person(torso=50.0)
    joints[0, LSP.index("right_shoulder"), 1] = 0.0
    joints[0, LSP.index("left_hip"), 1] = 300.0
    found = joints.clone()
    found[0, 0, 0] += 10.5
    assert scores_of(found, joints)["pck@0.2"] == pytest.approx(13 / 14)


def test_pckh_goes_by_the_head_and_pck_person_by_the_box():
    found = person(torso=60.0, head=20.0)
    found[0, 0, 0] += 10.5
    scores = scores_of(found, person(torso=60.0, head=20.0))
    assert scores["pckh@0.5"] == pytest.approx(13 / 14)
    assert scores["pck_person@0.1"] == pytest.approx(13 / 14)  # 6 pixels
    assert scores["pck_person@0.2"] == 1.0  # 12 pixels


def test_hidden_joints_do_not_count():
    found, visible = person(), torch.ones(1, 14, dtype=torch.bool)
    found[0, 0] = 1e6
    visible[0, 0] = False
    assert scores_of(person(), person(), visible)["pck@0.2"] == 1.0
    scores = scores_of(found, person(), visible)
    assert scores["pck@0.2"] == scores["pcp"] == 1.0
    assert scores["mean_error"] == 0.0
    assert scores["pck_of_joints"]["right_ankle"] is None


def test_person_whose_torso_is_hidden_is_left_out_of_pck_only():
    visible = torch.ones(1, 14, dtype=torch.bool)
    visible[0, HIP] = False
    scores = scores_of(person() + 3.0, person(), visible)
    assert scores["pck@0.2"] is None
    assert scores["mean_error"] == pytest.approx(3 * math.sqrt(2))


def test_limb_is_right_where_both_ends_are_within_half_its_length():
    truth = torch.tensor([[[0.0, 0.0], [10.0, 0.0], [10.0, 8.0]]])
    found = truth.clone()
    found[0, 1, 0] += 4.5  # under half of 10, over half of 8
    everywhere = torch.ones(1, 3, dtype=torch.bool)
    assert limbs_right(found, truth, everywhere, limbs=((0, 1), (1, 2))) == (1, 2)
    everywhere[0, 0] = False
    assert limbs_right(found, truth, everywhere, limbs=((0, 1), (1, 2))) == (0, 1)


def test_merged_scores_are_those_of_the_whole():
    torch.manual_seed(0)
    truth = 40 * torch.randn(6, 14, 2)
    found, visible = truth + 8 * torch.randn(6, 14, 2), torch.rand(6, 14) > 0.2
    area = torch.full((6,), 900.0)
    whole, parts = PoseScores(INFO), [PoseScores(INFO), PoseScores(INFO)]
    prediction = {"keypoints": found, "score": torch.rand(6, 14)}
    batch = truth_of(truth, visible) | {"area": area}
    whole.update(prediction, batch)
    for part, rows in zip(parts, (slice(0, 2), slice(2, 6)), strict=True):
        part.update({k: v[rows] for k, v in prediction.items()}, {k: v[rows] for k, v in batch.items()})
    parts[0].merge(parts[1])
    merged, expected = parts[0].compute(), whole.compute()
    assert list(merged) == list(expected)
    for name, value in expected.items():
        assert merged[name] == pytest.approx(value)


def test_no_area_no_precision():
    assert "oks_ap" not in scores_of(person(), person())
    assert scores_of(person(), person(), area=torch.tensor([900.0]))["oks_ap"] == pytest.approx(1.0)


def test_error_by_size_is_a_share_of_the_longer_side_of_people_of_that_size():
    metric = PoseScores(INFO)
    count = len(INFO.keypoints)
    small = torch.zeros(count, 2)
    small[0, 0] = 50.0  # 50 pixels wide
    reference = torch.stack([small, 4 * small])
    predicted = reference + torch.tensor([0.0, 5.0])
    visible = torch.ones(2, count, dtype=torch.bool)
    answer = {"keypoints": predicted, "score": torch.ones(2, count)}
    metric.update(answer, {"keypoints": reference, "visible": visible})
    shares = {"up to 64 pixels": 0.1, "up to 128": None, "up to 256": 0.025, "larger": None}
    assert metric.compute()["error_by_size"] == pytest.approx(shares)
