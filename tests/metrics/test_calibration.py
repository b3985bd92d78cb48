"""Calibration counts how often answers of a probability are right."""

import pytest
import torch

from unpool.metrics.calibration import BINS, Calibration
from unpool.metrics.classification import LabelScores


def by_hand(confidence, is_right):
    """Equation 3 of Guo et al., bin by bin."""
    total = 0.0
    for m in range(BINS):
        inside = [i for i, p in enumerate(confidence) if m / BINS < p <= (m + 1) / BINS]
        if inside:
            accuracy = sum(is_right[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


def test_expected_calibration_error_is_that_of_its_equation():
    generator = torch.Generator().manual_seed(0)
    confidence, is_right = torch.rand(500, generator=generator), torch.rand(500, generator=generator) < 0.6
    made = Calibration()
    made.update(confidence, is_right)
    assert made.error() == pytest.approx(by_hand(confidence.tolist(), is_right.tolist()), abs=1e-6)


def test_answers_as_often_right_as_they_say_have_no_error():
    made = Calibration()
    made.update(torch.full((4,), 0.75), torch.tensor([True, True, True, False]))
    assert made.error() == pytest.approx(0, abs=1e-7)
    assert made.table() == [[pytest.approx(0.75), 0.75, 4]]


def test_error_in_one_bin_is_not_made_good_by_that_of_another():
    made = Calibration()
    made.update(torch.tensor([0.9, 0.9, 0.1, 0.1]), torch.tensor([False, False, True, True]))
    assert made.error() == pytest.approx(0.9)


def test_parts_of_a_set_in_any_order_give_what_the_whole_gives():
    generator = torch.Generator().manual_seed(1)
    confidence, is_right = torch.rand(3000, generator=generator), torch.rand(3000, generator=generator) < 0.5
    whole, first, second = Calibration(), Calibration(), Calibration()
    whole.update(confidence, is_right)
    first.update(confidence[2000:], is_right[2000:])
    second.update(confidence[:2000], is_right[:2000])
    first.merge(second)
    assert (first.error(), first.table()) == (whole.error(), whole.table())


def test_probabilities_of_0_and_1_are_counted_and_those_that_are_no_number_are_not():
    made = Calibration()
    made.update(torch.tensor([0.0, 1.0, torch.nan]), torch.tensor([False, True, True]))
    assert made.error() == 0
    assert sum(row[2] for row in made.table()) == 2


def test_nothing_counted_has_no_error():
    assert (Calibration().error(), Calibration().table()) == (None, [])


def test_scores_of_labels_have_the_calibration_of_their_answers():
    scores = LabelScores("ab")
    answer = {"label": torch.tensor([0, 0]), "score": torch.tensor([0.8, 0.8])}
    scores.update({**answer, "top_labels": torch.tensor([[0, 1], [0, 1]])}, {"label": torch.tensor([0, 1])})
    assert scores.compute()["ece"] == pytest.approx(0.3)
