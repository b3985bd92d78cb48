import json

import pytest
import torch

from unpool.metrics.classification import LabelScores
from unpool.metrics.segmentation import MaskScores
from unpool.types import IGNORE


def test_mask_scores_of_a_hand_count():
    truth = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, IGNORE]]])
    predicted = torch.tensor([[[0, 0, 1, 0], [0, 1, 1, 0]]])
    scores = MaskScores(("road", "car", "sky"))
    scores.update({"mask": predicted}, {"mask": truth})
    found = scores.compute()
    assert found["iou"] == {"road": pytest.approx(3 / 5), "car": pytest.approx(2 / 4), "sky": None}
    assert found["mean_iou"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert found["pixel_accuracy"] == pytest.approx(5 / 7)
    assert found["class_accuracy"] == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_class_that_is_in_no_mask_is_not_measured_however_often_it_is_predicted():
    scores = MaskScores(("road", "car", "sky"))
    scores.update({"mask": torch.tensor([[[0, 0, 1, 2]]])}, {"mask": torch.tensor([[[0, 0, 1, 1]]])})
    found = scores.compute()
    assert found["iou"] == {"road": 1.0, "car": 0.5, "sky": None}
    assert found["precision"] == {"road": 1.0, "car": 1.0, "sky": None}
    assert (found["mean_iou"], found["class_accuracy"], found["classes_measured"]) == (0.75, 0.75, 2)


def test_class_without_images_is_not_measured_however_often_it_is_predicted():
    scores = LabelScores("abc")
    scores.update(ranked(torch.eye(3)[[0, 2, 2]]), {"label": torch.tensor([0, 0, 0])})
    found = scores.compute()
    assert found["recall"] == {"a": pytest.approx(1 / 3), "b": None, "c": None}
    assert found["precision"] == {"a": 1.0, "b": None, "c": None}
    assert (found["class_accuracy"], found["classes_measured"]) == (pytest.approx(1 / 3), 1)


def test_mask_scores_count_over_the_set_not_over_images():
    scores = MaskScores(("a", "b"))
    scores.update({"mask": torch.tensor([[[0, 0, 0, 0]]])}, {"mask": torch.tensor([[[0, 0, 0, 1]]])})
    scores.update({"mask": torch.tensor([[[1, 1, 1, 1]]])}, {"mask": torch.tensor([[[1, 1, 1, 1]]])})
    assert scores.compute()["iou"] == {"a": pytest.approx(3 / 4), "b": pytest.approx(4 / 5)}


def test_mask_scores_of_unlabelled_pixels_are_none_and_plain_json():
    scores = MaskScores(("a", "b"))
    scores.update({"mask": torch.zeros(1, 2, 2)}, {"mask": torch.full((1, 2, 2), IGNORE)})
    found = scores.compute()
    assert found["mean_iou"] is found["pixel_accuracy"] is found["class_accuracy"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def ranked(logits):
    return {"label": logits.argmax(1), "top_labels": logits.topk(min(5, logits.shape[1])).indices}


def test_label_scores_of_a_hand_count():
    logits = torch.eye(7)[[0, 1, 2, 3]] * 9 + torch.arange(7).flip(0) * 0.1  # runners-up are 0, 1, 2, 3
    scores = LabelScores([str(i) for i in range(7)])
    scores.update(ranked(logits), {"label": torch.tensor([0, 1, 6, 0])})
    found = scores.compute()
    assert found["top1"] == 0.5
    assert found["top5"] == 0.75
    assert found["class_accuracy"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["confusion"][6][2] == 1


def test_top5_of_three_classes_counts_all_three():
    scores = LabelScores("abc")
    scores.update(ranked(torch.randn(8, 3)), {"label": torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])})
    assert scores.compute()["top5"] == 1.0


def test_label_scores_merged_from_parts_are_those_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    logits, label = torch.randn(40, 6, generator=generator), torch.randint(0, 6, (40,), generator=generator)
    whole, part, rest = LabelScores("abcdef"), LabelScores("abcdef"), LabelScores("abcdef")
    whole.update(ranked(logits), {"label": label})
    part.update(ranked(logits[:7]), {"label": label[:7]})
    rest.update(ranked(logits[7:]), {"label": label[7:]})
    part.merge(rest)
    assert part.compute() == whole.compute()


def test_label_scores_of_an_empty_set_are_none():
    found = LabelScores("ab").compute()
    assert found["top1"] is found["top5"] is found["class_accuracy"] is None


def test_confusion_of_very_many_classes_is_not_written_out():
    assert LabelScores([str(i) for i in range(101)]).compute()["confusion"] is None
    assert len(LabelScores([str(i) for i in range(100)]).compute()["confusion"]) == 100
