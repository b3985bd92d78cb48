"""Scores of the search for a person among enrolled ones: closed set, and with strangers that are to be rejected."""

import numpy as np
from numpy.typing import NDArray

from unpool.metrics.verification import RESAMPLES, Floats, area, ends_of, roc_of

People = NDArray[np.int64]
MOST_RANKS = 10


def distances_to_people(distance: Floats, enrolled: People) -> tuple[Floats, People]:
    """(P, N) distance of each image to the nearest image of each enrolled person, and (N,) these people, sorted.

    Args:
        distance: (P, G) to each enrolled image; infinite where an image is not to be compared with itself.
        enrolled: (G,) person of each.

    Example:
        >>> distances_to_people(np.array([[0.3, 0.1, 0.2]]), np.array([7, 7, 4]))
        (array([[0.2, 0.1]]), array([4, 7]))
    """
    people = np.unique(enrolled)
    return np.stack([distance[:, enrolled == one].min(1) for one in people], 1), people


def ranks_of(distance: Floats, people: People, truth: People) -> People:
    """(P,) rank of the true person of each image, 1 the nearest; of equal distances the truth comes last.

    Args:
        distance: (P, N) to each enrolled person.
        people: (N,) who they are.
        truth: (P,) who each image shows; enrolled, all of them.

    Example:
        >>> ranks_of(np.array([[0.2, 0.1, 0.4]]), np.array([4, 7, 9]), np.array([4]))
        array([2])
    """
    mine = np.take_along_axis(distance, np.searchsorted(people, truth)[:, None], 1)
    return (distance <= mine).sum(1)


def cmc(ranks: People, most: int) -> list[float]:
    """The cumulative match characteristic: the share of images whose person is among the nearest 1, 2, ... `most`.

    Example:
        >>> cmc(np.array([1, 2, 1, 4]), 3)
        [0.5, 0.75, 0.75]
    """
    return [float((ranks <= rank).mean()) for rank in range(1, most + 1)]


def interval_of_rank1(ranks: People, truth: People, *, seed: int = 0) -> tuple[float, float] | None:
    """The interval of 95 % of rank-1 accuracy, by drawing people with replacement.

    Example:
        >>> interval_of_rank1(np.array([1, 1, 1]), np.array([0, 0, 1]))
        (1.0, 1.0)
    """
    people, numbers = np.unique(truth, return_inverse=True)
    hits, images = (np.bincount(numbers, weights=each) for each in (ranks == 1, np.ones(len(ranks))))
    generator, scores = np.random.default_rng(seed), []
    for _ in range(RESAMPLES):
        drawn = generator.multinomial(len(people), np.full(len(people), 1 / len(people)))
        scores.append(float((drawn * hits).sum() / (drawn * images).sum()))
    return ends_of(scores)


def open_set(
    known: Floats, ranks: People, strangers: Floats, threshold: float | None
) -> tuple[float | None, float | None, float]:
    """How well strangers are told from enrolled people by the distance to the nearest one.

    Args:
        known: (P,) distance of images of enrolled people to the nearest person.
        ranks: (P,) of their true person.
        strangers: (S,) distance of images of strangers to the nearest person.
        threshold: above which an image is called a stranger's; None where none was chosen.

    Returns:
        Share of strangers that are rejected, share of images of enrolled people that are accepted with the right name,
        and the area under the curve of the two by threshold, names left aside.

    Example:
        >>> open_set(np.array([0.1, 0.9]), np.array([1, 2]), np.array([0.8, 0.3]), 0.5)
        (0.5, 0.5, 0.5)
    """
    both = np.concatenate([known, strangers])
    is_known = np.arange(len(both)) < len(known)
    area_ = area(roc_of(both, is_known))
    if threshold is None:
        return None, None, area_
    rejected, accepted = (strangers > threshold).mean(), ((known <= threshold) & (ranks == 1)).mean()
    return float(rejected), float(accepted), area_
