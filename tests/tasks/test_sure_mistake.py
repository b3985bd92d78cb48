"""How sure a network is of what is wrong: only what is wrong counts, the surest first."""

import pytest
import torch

from unpool.tasks.classification import Classification
from unpool.tasks.detection import Detection
from unpool.tasks.pose import Pose
from unpool.tasks.segmentation import Segmentation
from unpool.types import IGNORE, DataInfo

INFO = DataInfo(classes=("a", "b", "c"), keypoints=("left_shoulder", "right_hip"), limbs=((0, 1),))


def test_right_class_is_no_mistake_and_a_wrong_one_is_as_sure_as_its_probability():
    task, answer = Classification(INFO), {"label": torch.tensor([1]), "score": torch.tensor([0.75])}
    assert task.sure_mistake(answer, {"label": torch.tensor([1])}) is None
    assert task.sure_mistake(answer, {"label": torch.tensor([2])}) == 0.75


def test_wrong_pixels_count_by_their_probability_and_right_or_unlabelled_ones_do_not():
    task = Segmentation(INFO)
    truth = torch.tensor([[[0, 0, 1, IGNORE]]])
    score = torch.tensor([[[0.9, 0.6, 0.9, 0.9]]])
    answer = {"mask": torch.tensor([[[0, 1, 1, 2]]]), "score": score}
    assert task.sure_mistake(answer, {"mask": truth}) == pytest.approx(0.2)
    assert task.sure_mistake({"mask": torch.tensor([[[0, 0, 1, 2]]]), "score": score}, {"mask": truth}) is None


def test_surest_box_that_is_wrong_counts_and_not_a_surer_one_that_is_right():
    task, thing = Detection(INFO), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    batch = {"boxes": [thing], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[40, 40]])}
    batch["index"] = torch.tensor([0])
    boxes = torch.cat([thing, thing + 20, thing + 25])
    answer = {"boxes": [boxes], "labels": [torch.zeros(3).long()], "score": [torch.tensor([0.9, 0.3, 0.6])]}
    assert task.sure_mistake(answer, batch) == pytest.approx(0.6)
    right = {key: [value[0][:1]] for key, value in answer.items()}
    assert task.sure_mistake(right, batch) is None


def test_surest_joint_far_away_counts_and_hidden_ones_do_not():
    task, truth = Pose(INFO), torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])
    near, far = torch.tensor([[[0.0, 10.0], [100.0, 0.0]]]), torch.tensor([[[0.0, 30.0], [100.0, 50.0]]])
    score, visible = torch.tensor([[0.5, 0.8]]), torch.tensor([[True, True]])
    batch = {"keypoints": truth, "visible": visible}
    assert task.sure_mistake({"keypoints": near, "score": score}, batch) is None
    assert task.sure_mistake({"keypoints": far, "score": score}, batch) == pytest.approx(0.8)
    half = {**batch, "visible": torch.tensor([[True, False]])}
    assert task.sure_mistake({"keypoints": far, "score": score}, half) == pytest.approx(0.5)
    hidden = {**batch, "visible": torch.tensor([[False, False]])}
    assert task.sure_mistake({"keypoints": far, "score": score}, hidden) is None
