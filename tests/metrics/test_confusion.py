import pytest
import torch

from unpool.metrics.confusion import Confusion
from unpool.types import IGNORE


def confusion_of(truth, predicted, *, num_classes=3, ignore=None):
    found = Confusion(num_classes, key="label", ignore=ignore)
    found.update({"label": torch.tensor(predicted)}, {"label": torch.tensor(truth)})
    return found


def test_confusion_rows_are_truth_and_columns_prediction():
    counts = confusion_of([0, 0, 0, 1], [0, 1, 1, 2]).counts
    assert counts.tolist() == [[1, 2, 0], [0, 0, 1], [0, 0, 0]]


def test_confusion_ratios_of_a_hand_count():
    found = confusion_of([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2])
    assert found.accuracy() == pytest.approx(4 / 6)
    assert found.recall() == pytest.approx([2 / 3, 1 / 2, 1])
    assert found.precision() == pytest.approx([2 / 3, 1 / 2, 1])
    assert found.iou() == pytest.approx([2 / 4, 1 / 3, 1])


def test_class_never_predicted_has_no_precision_and_recall_zero():
    found = confusion_of([0, 1, 1], [0, 0, 0])
    assert found.recall() == [1.0, 0.0, None]
    assert found.precision() == [pytest.approx(1 / 3), None, None]
    assert found.iou() == [pytest.approx(1 / 3), 0.0, None]


def test_class_predicted_but_absent_from_the_truth_is_not_measured():
    found = confusion_of([0, 0], [0, 2])
    assert found.iou() == found.recall() == [0.5, None, None]
    assert found.precision() == [1.0, None, None]
    assert found.measured() == 1


def test_ignored_items_are_in_no_count():
    found = confusion_of([0, IGNORE, IGNORE, 1], [0, 1, 2, 0], ignore=IGNORE)
    assert found.counts.sum() == 2
    assert found.accuracy() == 0.5


def test_all_ignored_gives_no_number():
    found = confusion_of([IGNORE, IGNORE], [0, 1], ignore=IGNORE)
    assert found.accuracy() is None
    assert found.iou() == [None, None, None]


def test_label_255_of_a_thousand_classes_is_a_class():
    found = confusion_of([255, 255], [255, 0], num_classes=1000)
    assert found.recall()[255] == 0.5


def test_confusion_merged_from_parts_is_that_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    truth, predicted = torch.randint(0, 3, (2, 50), generator=generator)
    whole = confusion_of(truth.tolist(), predicted.tolist())
    part = confusion_of(truth[:20].tolist(), predicted[:20].tolist())
    part.merge(confusion_of(truth[20:].tolist(), predicted[20:].tolist()))
    assert torch.equal(part.counts, whole.counts)


def test_confusion_of_another_number_of_classes_is_not_merged():
    with pytest.raises(ValueError, match="2 classes into 3"):
        Confusion(3, key="label").merge(Confusion(2, key="label"))


def test_lists_of_masks_count_as_their_stack():
    masks = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
    stacked, listed = Confusion(3, key="mask"), Confusion(3, key="mask")
    stacked.update({"mask": masks.flip(2)}, {"mask": masks})
    listed.update({"mask": list(masks.flip(2))}, {"mask": list(masks)})
    assert torch.equal(stacked.counts, listed.counts)


def test_prediction_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) in the batch and \(1, 2, 8\)"):
        Confusion(3, key="mask").update({"mask": torch.zeros(1, 2, 8)}, {"mask": torch.zeros(1, 4, 4)})


@pytest.mark.parametrize(
    ("truth", "predicted", "side"), [([0, 3], [0, 0], "reference"), ([0, 0], [0, 3], "prediction")]
)
def test_values_that_are_no_class_are_refused(truth, predicted, side):
    with pytest.raises(ValueError, match=f"{side} of label holds"):
        confusion_of(truth, predicted)
