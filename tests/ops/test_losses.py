import pytest
import torch
from torch import nn

from unpool.errors import DataError, RecipeError
from unpool.ops.losses import (
    label_cross_entropy,
    listed_weights,
    median_frequency,
    pixel_cross_entropy,
)
from unpool.types import IGNORE


def test_pixel_cross_entropy_is_the_weighted_mean_over_labelled_pixels():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(1))
    mask[0, :2] = IGNORE
    weights = torch.tensor([1.0, 2.0, 0.5])
    total = count = 0.0
    for b in range(2):
        for y in range(4):
            for x in range(5):
                truth = int(mask[b, y, x])
                if truth != IGNORE:
                    total -= float(weights[truth] * logits[b, :, y, x].log_softmax(0)[truth])
                    count += float(weights[truth])
    term = pixel_cross_entropy(logits, mask, weights)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert float(term.count) == pytest.approx(count, rel=1e-6)


def test_pixel_cross_entropy_without_weights_counts_labelled_pixels():
    mask = torch.tensor([[[0, 1, IGNORE, IGNORE]]])
    term = pixel_cross_entropy(torch.zeros(1, 2, 1, 4), mask)
    assert float(term.count) == 2
    assert float(term.sum / term.count) == pytest.approx(0.693147, rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0])])
def test_pixel_cross_entropy_of_unlabelled_pixels_is_zero_with_zero_gradient(weights):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    term = pixel_cross_entropy(logits, torch.full((1, 3, 3), IGNORE), weights)
    loss = term.sum / term.count
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_pixel_cross_entropy_of_half_precision_scores_is_float32():
    term = pixel_cross_entropy(torch.full((1, 2, 2, 2), 3.0, dtype=torch.bfloat16), torch.zeros(1, 2, 2).long())
    assert term.sum.dtype == term.count.dtype == torch.float32


def test_label_cross_entropy_is_that_of_the_mean_reduction():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 2, 3, 0, 1])
    term = label_cross_entropy(logits, label, label_smoothing=0.1)
    expected = nn.functional.cross_entropy(logits, label, label_smoothing=0.1)
    assert float(term.sum / term.count) == pytest.approx(float(expected), rel=1e-6)
    assert float(term.count) == 6


def test_median_frequency_of_a_hand_count():
    # frequencies 60/100, 30/100, 10/50: the median is 0.3
    weights = median_frequency(torch.tensor([60, 30, 10]), torch.tensor([100, 100, 50]))
    assert weights.tolist() == pytest.approx([0.5, 1.0, 1.5])


def test_median_frequency_of_an_absent_class_is_one_and_leaves_the_others_alone():
    weights = median_frequency(torch.tensor([60, 0, 30, 10]), torch.tensor([100, 0, 100, 50]))
    assert weights.tolist() == pytest.approx([0.5, 1.0, 1.0, 1.5])


def test_median_frequency_of_an_even_number_of_classes_takes_the_middle_of_two():
    weights = median_frequency(torch.tensor([10, 30]), torch.tensor([100, 100]))
    assert weights.tolist() == pytest.approx([2.0, 2 / 3])


def test_median_frequency_without_any_labelled_pixel_says_so():
    with pytest.raises(DataError, match="no labelled pixel"):
        median_frequency(torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ([1.0, 2.0], "2 class weights for 3"),
        ([1.0, float("nan"), 1], "finite"),
        ([1, -1, 1], "negative"),
        ([0, 0, 0], "0"),
    ],
)
def test_listed_weights_that_cannot_weigh_are_refused(weights, says):
    with pytest.raises(RecipeError, match=says):
        listed_weights(weights, 3)
