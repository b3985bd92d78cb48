"""Labels that are contradicted by answers from outside: which, how many of them are wrong, and how many are missed.

What a learner says of samples that it was not fitted to contradicts wrong labels, and those of hard pictures.
Validation tells the two apart: how often right labels are contradicted as firmly there, and how often any other label
would have been. Confident learning (Northcutt et al. 2021) has a threshold for each class from training answers alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GRID = tuple(step / 20 for step in range(1, 20))  # by how much of the score from 0 to 1 another class is above a label


class Suspects(NamedTuple):
    """What is known of the labels of a set.

    Attributes:
        listed: samples whose label is suspected, the surest first.
        firm: the margin from which on right and wrong labels are told apart best.
        contradicted, contradicted_right: the share of labels that are contradicted by more, and that of right ones.
        wrong: the estimated share of the labels that are wrong.
        precision, recall: expected of the list.
    """

    listed: Tensor
    firm: float
    contradicted: float
    contradicted_right: float
    wrong: float
    precision: float
    recall: float


def suspects_of(scores: Tensor, labels: Tensor, right_scores: Tensor, right_labels: Tensor) -> Suspects:
    """Lists labels that are suspected; the margin from which on is the one with the best F1 that validation expects.

    Args:
        scores: (N, C) of samples, by a learner that was not fitted to them; at best 1 for the class and 0 for others.
        labels: (N), some of which may be wrong.
        right_scores: (K, C) of other samples, by the same learner.
        right_labels: (K), which are right.

    Example:
        >>> scores = torch.eye(4).repeat(25, 1)
        >>> labels, wrong = torch.arange(4).repeat(25), torch.tensor([8, 21, 40])
        >>> noisy = labels.scatter(0, wrong, (labels[wrong] + 1) % 4)
        >>> found = suspects_of(scores, noisy, scores, labels)
        >>> found.listed.tolist(), round(found.wrong, 3), round(found.precision, 2)
        ([8, 21, 40], 0.03, 0.68)
    """
    margins, right = margins_of(scores, labels), margins_of(right_scores, right_labels)
    others = _of_other_labels(right_scores, right_labels)
    firm = max(GRID, key=lambda least: _apart(least, right, others))
    contradicted, contradicted_right = _beyond(margins, firm), _beyond(right, firm)
    gain = _beyond(others, firm) - contradicted_right
    wrong = min(1.0, max(0.0, (contradicted - contradicted_right) / gain)) if gain > 0 else 0.0
    lists = [_expected(least, wrong, margins, right, others) for least in GRID]
    least, precision, recall = max(lists, key=_f1)
    order = margins.argsort(descending=True, stable=True)
    listed = order[margins[order] > least] if wrong > 0 else order[:0]
    return Suspects(listed, firm, contradicted, contradicted_right, wrong, precision, recall)


def _apart(least: float, right: Tensor, others: Tensor) -> float:
    """By how many standard errors of the share of right labels beyond a margin that of wrong ones is above it."""
    share, count = _beyond(right, least), max(1, len(right))
    return (_beyond(others, least) - share) / (max(share * (1 - share), 1 / count) / count) ** 0.5


def _expected(least: float, wrong: float, margins: Tensor, right: Tensor, others: Tensor) -> tuple[float, float, float]:
    """The margin, and precision and recall that are expected of a list from it on."""
    of_right = (int((right > least).sum()) + 1) / (
        len(right) + 2
    )  # rule of succession: few that are right prove little
    precision = max(0.0, 1 - (1 - wrong) * of_right / max(_beyond(margins, least), 1e-9))
    return least, precision, _beyond(others, least)


def _f1(one: tuple[float, float, float]) -> float:
    _, precision, recall = one
    return 2 * precision * recall / max(precision + recall, 1e-9)


def margins_of(scores: Tensor, labels: Tensor) -> Tensor:
    """By how much another class is scored above the label of each sample."""
    labelled = scores.gather(1, labels[:, None])[:, 0]
    return scores.scatter(1, labels[:, None], float("-inf")).amax(1) - labelled


def _of_other_labels(scores: Tensor, labels: Tensor) -> Tensor:
    """The margins that there would be if the label were any of the wrong ones."""
    kept = [margins_of(scores, torch.full_like(labels, one))[labels != one] for one in range(scores.shape[1])]
    return torch.cat(kept)


def _beyond(margins: Tensor, least: float) -> float:
    return float((margins > least).double().mean()) if len(margins) else 0.0
