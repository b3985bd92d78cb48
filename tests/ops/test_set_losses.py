"""Dice and Lovász-softmax against what they say at certain answers, and against loops over pixels."""

import itertools

import pytest
import torch

from unpool.ops.losses import (
    label_binary_cross_entropy,
    label_cross_entropy,
    label_focal,
    pixel_cross_entropy,
    pixel_focal,
)
from unpool.ops.regression_losses import regression_errors
from unpool.ops.set_losses import dice, lovasz_softmax
from unpool.types import IGNORE

SETS = (dice, lovasz_softmax)


def sets(seed=0, batch=3, classes=4):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, 5, 6, generator=draws)
    mask = torch.randint(0, classes, (batch, 5, 6), generator=draws)
    mask[0][mask[0] == 2] = 1  # a class that the first image does not show
    mask[-1, :2] = IGNORE
    return logits, mask


def certain(answer, classes):
    return 100 * torch.nn.functional.one_hot(answer, classes).movedim(-1, 1).float()


def shown_ious(answer, mask, classes):
    ious = []
    for label in range(classes):
        truth, said = mask == label, (answer == label) & (mask != IGNORE)
        if truth.any():
            ious.append(float((truth & said).sum() / (truth | said).sum()))
    return ious


def test_lovasz_of_certain_answers_is_one_minus_the_iou_of_each_class_that_the_image_shows():
    logits, mask = sets()
    answer = logits.argmax(1)
    expected = [1 - torch.tensor(shown_ious(a, m, 4)).mean() for a, m in zip(answer, mask, strict=True)]
    term = lovasz_softmax(certain(answer, 4), mask)
    assert float(term.sum) == pytest.approx(float(sum(expected)), rel=1e-5)
    assert float(term.count) == 3


def test_lovasz_of_uncertain_answers_is_the_sum_over_thresholds_of_the_jaccard_loss():
    logits, mask = sets(batch=1)
    probability, losses = logits.softmax(1)[0].double(), []
    for label in (0, 1, 3):
        known = mask[0] != IGNORE
        truth = mask[0][known] == label
        errors = (truth.double() - probability[label][known]).abs()
        total, levels = 0.0, [0.0, *sorted(errors.flatten().tolist())]
        for low, high in itertools.pairwise(levels):  # the Lovász extension as an integral over levels
            wrong = errors >= high
            total += (high - low) * float(1 - (truth & ~wrong).sum() / (truth | wrong).sum())
        losses.append(total)
    assert float(lovasz_softmax(logits, mask).sum) == pytest.approx(sum(losses) / 3, rel=1e-5)


def test_dice_is_its_formula_over_labelled_pixels():
    logits, mask = sets()
    total = 0.0
    for scores, one in zip(logits, mask, strict=True):
        probability, coefficients = scores.softmax(0), []
        for label in range(4):
            truth = one == label
            if truth.any():
                p = probability[label][one != IGNORE]
                g = truth[one != IGNORE]
                coefficients.append(float(2 * p[g].sum() / ((p**2).sum() + g.sum())))
        total += 1 - sum(coefficients) / len(coefficients)
    term = dice(logits, mask)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert float(term.count) == 3


@pytest.mark.parametrize("loss", SETS)
def test_right_answers_cost_nothing_and_batches_add_up(loss):
    logits, mask = sets()
    assert float(loss(certain(mask.where(mask != IGNORE, 0), 4), mask).sum) == pytest.approx(0, abs=1e-6)
    whole, parts = loss(logits, mask), [loss(logits[i : i + 1], mask[i : i + 1]) for i in range(3)]
    assert float(whole.sum) == pytest.approx(float(sum(part.sum for part in parts)), rel=1e-6)
    assert float(whole.count) == sum(float(part.count) for part in parts)


@pytest.mark.parametrize("loss", SETS)
def test_image_without_a_label_counts_nothing_and_has_no_gradient(loss):
    logits = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16).requires_grad_()
    mask = torch.full((2, 4, 4), IGNORE)
    mask[1] = 1
    term = loss(logits, mask)
    assert float(term.count) == 1
    assert term.sum.dtype == torch.float32
    term.sum.backward()
    assert not logits.grad[0].any()
    assert logits.grad[1].any()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0, 0.5, 2.0])])
def test_focal_without_its_exponent_is_the_cross_entropy(weights):
    logits, mask = sets()
    ours, known = pixel_focal(logits, mask, weights, gamma=0.0), pixel_cross_entropy(logits, mask, weights)
    assert float(ours.sum) == pytest.approx(float(known.sum), rel=1e-5)
    assert float(ours.count) == pytest.approx(float(known.count), rel=1e-6)
    label = mask[1, 0, :3]
    pair = label_focal(logits[:, :, 0, 0], label, gamma=0.0), label_cross_entropy(logits[:, :, 0, 0], label)
    assert float(pair[0].sum) == pytest.approx(float(pair[1].sum), rel=1e-5)


def test_focal_weighs_each_pixel_by_a_power_of_what_its_probability_lacks():
    logits, mask = sets()
    total = 0.0
    for b, y, x in (mask != IGNORE).nonzero().tolist():
        p = float(logits[b, :, y, x].softmax(0)[mask[b, y, x]])
        total -= (1 - p) ** 3 * torch.tensor(p).log().item()
    assert float(pixel_focal(logits, mask, gamma=3.0).sum) == pytest.approx(total, rel=1e-4)


def test_focal_of_a_certain_answer_has_a_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    label_focal(logits, torch.tensor([0]), gamma=0.5).sum.backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_cross_entropy_adds_a_question_for_each_class(smoothing):
    logits, label = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 3, 1])
    total = 0.0
    for scores, right in zip(logits.sigmoid().tolist(), label.tolist(), strict=True):
        for index, p in enumerate(scores):
            target = (1 - smoothing) * (index == right) + smoothing / 4
            total -= target * torch.tensor(p).log().item() + (1 - target) * torch.tensor(1 - p).log().item()
    term = label_binary_cross_entropy(logits, label, label_smoothing=smoothing)
    assert float(term.sum) == pytest.approx(total, rel=1e-5)
    assert float(term.count) == 3


def test_huber_meets_its_two_parts_with_one_slope():
    difference = torch.tensor([0.2, 0.4999999, 0.5000001, 2.0], requires_grad=True)
    errors = regression_errors(difference, torch.zeros(4), "huber", delta=0.5)
    assert errors.tolist() == pytest.approx([0.02, 0.125, 0.125, 0.5 * (2 - 0.25)], rel=1e-5)
    (slope,) = torch.autograd.grad(errors.sum(), difference)
    assert slope.tolist() == pytest.approx([0.2, 0.5, 0.5, 0.5], rel=1e-5)
