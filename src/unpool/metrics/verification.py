"""Scores of pairs of images: of one person, or of two? The nearer of two embeddings, the likelier one person.

Distances are any numbers of which small ones stand for one person. Pairs of one person and pairs of two weigh alike as
kinds, whatever their numbers, so that 0.5 is what an answer scores that does not look.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
RESAMPLES = 500
_ENDS = (2.5, 97.5)  # percentiles of an interval of 95 %


class Roc(NamedTuple):
    """The operating points of all thresholds, from one that accepts nothing to one that accepts all.

    Attributes:
        threshold: distances up to which pairs are accepted; -inf first.
        far: share of the pairs of two people that are accepted.
        tar: share of the pairs of one person that are accepted.
    """

    threshold: Floats
    far: Floats
    tar: Floats


def roc_of(distance: Floats, is_same: Bools) -> Roc:
    """The points of a set of pairs that has both kinds.

    Example:
        >>> roc_of(np.array([0.1, 0.4, 0.8]), np.array([True, False, True])).tar.tolist()
        [0.0, 0.5, 0.5, 1.0]
    """
    order = np.argsort(distance, kind="stable")
    ordered, same = distance[order], is_same[order]
    last = np.append(np.flatnonzero(np.diff(ordered) > 0), len(ordered) - 1)  # equal distances are accepted together
    accepted_same, accepted = np.cumsum(same)[last], last + 1
    tar = accepted_same / max(int(is_same.sum()), 1)
    far = (accepted - accepted_same) / max(int((~is_same).sum()), 1)
    return Roc(np.append(-np.inf, ordered[last]), np.append(0.0, far), np.append(0.0, tar))


def area(roc: Roc) -> float:
    """The area under the curve, by straight lines: the share of right answers to which of two pairs is of one person.

    Example:
        >>> area(roc_of(np.array([0.1, 0.4, 0.8]), np.array([True, False, True])))
        0.5
    """
    return float(np.trapezoid(roc.tar, roc.far))


def tar_at(roc: Roc, far: float, *, others: int) -> float | None:
    """The largest share of accepted pairs of one person at which no more than `far` of the others are accepted.

    Args:
        roc: of the pairs.
        far: false accept rate.
        others: pairs of two people; None is returned where they are fewer than 1 / `far`, since one pair is more.

    Example:
        >>> roc = roc_of(np.array([0.1, 0.4, 0.8, 0.9]), np.array([True, False, True, False]))
        >>> tar_at(roc, 0.5, others=2), tar_at(roc, 0.1, others=2)
        (1.0, None)
    """
    if others * far < 1 - 1e-9:
        return None
    return float(roc.tar[roc.far <= far + 1e-12].max())


def best_threshold(distance: Floats, is_same: Bools) -> float:
    """The distance up to which pairs are called one person that answers most of these pairs rightly.

    It lies in the middle between the last distance that is accepted and the next one; of thresholds that are as good,
    the lowest is taken.

    Example:
        >>> best_threshold(np.array([0.1, 0.5, 0.9]), np.array([True, True, False]))
        0.7
    """
    roc = roc_of(distance, is_same)
    best = int(np.argmax(np.round(roc.tar - roc.far, 12)))
    low = roc.threshold[best]
    if best + 1 == len(roc.threshold):
        return float(low)
    high = roc.threshold[best + 1]
    return float((low + high) / 2) if best else float(high / 2)


def accuracy(distance: Floats, is_same: Bools, threshold: float | Floats, weight: Floats | None = None) -> float | None:
    """Share of right answers, the two kinds of pairs weighing alike; None where one of them is missing.

    Args:
        distance: (P,) of the pairs.
        is_same: (P,) whether they are of one person.
        threshold: up to which they are called so; one, or one a pair.
        weight: (P,) of each pair; None counts all alike.

    Example:
        >>> accuracy(np.array([0.1, 0.6, 0.9]), np.array([True, True, False]), 0.5)
        0.75
    """
    weights = np.ones(len(distance)) if weight is None else weight
    is_right = (distance <= threshold) == is_same
    totals = [float(weights[kind].sum()) for kind in (is_same, ~is_same)]
    if not all(totals):
        return None
    rights = [float(weights[kind & is_right].sum()) for kind in (is_same, ~is_same)]
    return sum(right / total for right, total in zip(rights, totals, strict=True)) / 2


def interval_over_people(
    distance: Floats, is_same: Bools, threshold: float | Floats, people: NDArray[np.int64], *, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of 95 % of `accuracy`, by drawing people with replacement.

    Pairs are no independent draws: a person stands in many. So people are drawn, as often as there are; a pair weighs
    as often as its person was drawn, one of two people the product of both. None where too few draws have both kinds.

    Args:
        distance: (P,) of the pairs.
        is_same: (P,).
        threshold: as in `accuracy`.
        people: (P, 2) person of each image.
        seed: of the draws.

    Source: Bolle et al. 2004, "Error analysis of pattern recognition systems: the subsets bootstrap".

    Example:
        >>> people = np.array([[0, 0], [1, 1], [2, 2], [0, 1], [1, 2]])
        >>> interval_over_people(np.array([0.1, 0.2, 0.1, 0.8, 0.9]), people[:, 0] == people[:, 1], 0.5, people)
        (1.0, 1.0)
    """
    _, numbers = np.unique(people, return_inverse=True)
    numbers = numbers.reshape(-1, 2)
    count = int(numbers.max(initial=-1)) + 1
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(RESAMPLES):
        drawn = generator.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        weight = np.where(is_same, drawn[numbers[:, 0]], drawn[numbers[:, 0]] * drawn[numbers[:, 1]])
        if (score := accuracy(distance, is_same, threshold, weight)) is not None:
            scores.append(score)
    return ends_of(scores)


def ends_of(scores: list[float]) -> tuple[float, float] | None:
    """The ends of an interval of 95 % of resampled scores; None of fewer than half of the draws.

    >>> ends_of([number / 1000 for number in range(1001)]), ends_of([0.5])
    ((0.025, 0.975), None)
    """
    if 2 * len(scores) < RESAMPLES:
        return None
    low, high = np.percentile(scores, _ENDS)
    return float(low), float(high)
