"""Boundary IoU counts what lies near outlines, and nothing else."""

import pytest
import torch
from scipy import ndimage

from unpool.metrics.outlines import BoundaryScores, boundary
from unpool.metrics.segmentation import MaskScores
from unpool.types import IGNORE


def square(size, left, side, top=None):
    mask = torch.zeros(size, size, dtype=torch.long)
    top = left if top is None else top
    mask[top : top + side, left : left + side] = 1
    return mask


def eroded(mask, label, width):
    """Pixels of a class that vanish when it is eroded `width` times by a 3x3 square, as the source has it."""
    whole = (mask == label).numpy()
    inner = ndimage.binary_erosion(whole, structure=[[1] * 3] * 3, iterations=width, border_value=0)
    return torch.from_numpy(whole & ~inner)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_boundary_is_what_erosion_takes_away_of_each_class(width):
    mask = torch.randint(0, 3, (9, 7), generator=torch.Generator().manual_seed(width))
    mask = mask.repeat_interleave(5, 0).repeat_interleave(4, 1)
    marked = boundary(mask, width)
    for label in range(3):
        assert torch.equal(marked & (mask == label), eroded(mask, label, width)), label


def iou_of(predicted, reference):
    scores = BoundaryScores(2)
    scores.update({"mask": predicted[None]}, {"mask": reference[None]})
    return scores.iou()


def test_mask_that_is_right_has_1():
    mask = square(50, 10, 20)
    assert iou_of(mask, mask) == [1.0, 1.0]


def test_outline_that_is_off_costs_more_than_in_the_iou_of_all_pixels():
    shifted, truth = square(100, 31, 40, top=30), square(100, 30, 40)
    whole = MaskScores("ab")
    whole.update({"mask": shifted[None]}, {"mask": truth[None]})
    found = whole.compute()
    assert found["iou"]["b"] == pytest.approx(39 * 40 / (41 * 40))
    assert 0.5 < found["boundary_iou_by_class"]["b"] < found["iou"]["b"] - 0.1


def test_boundary_iou_is_counted_by_hand_on_a_shifted_square():
    width = round(0.02 * 100 * 2**0.5)  # 3
    predicted, truth = square(100, 31, 40, top=30), square(100, 30, 40)
    first, second = (eroded(mask, 1, width) for mask in (predicted, truth))
    expected = int((first & second).sum()) / int((first | second).sum())
    assert iou_of(predicted, truth)[1] == pytest.approx(expected)


def test_pixels_without_a_label_make_no_outline():
    truth = square(50, 10, 20)
    predicted = truth.clone()
    truth[:, 20:24] = IGNORE
    assert iou_of(predicted, truth) == [1.0, 1.0]


def test_class_that_is_not_in_the_reference_has_none():
    assert iou_of(square(50, 10, 20), torch.zeros(50, 50, dtype=torch.long))[1] is None


def test_recall_by_size_counts_pixels_by_the_share_that_their_class_covers():
    truth = torch.zeros(1, 20, 20, dtype=torch.long)
    truth[0, 0, :2], truth[0, 10:12, :10] = 1, 2  # 0.5 % and 5 %; the rest is class 0
    predicted = truth.clone()
    predicted[0, 0, 0] = 0
    predicted[0, 10, :5] = 0
    scores = MaskScores("abc")
    scores.update({"mask": predicted}, {"mask": truth})
    assert scores.compute()["recall_by_size"] == {"below 1 %": 0.5, "1 to 10 %": 0.75, "above 10 %": 1.0}
