"""Whether two networks differ on a set of images: the paired bootstrap over images.

Efron 1979 (Annals of Statistics 7(1)); paired as in Koehn 2004 (EMNLP), section 3. Images are drawn with replacement,
both networks are scored on the same ones, and the middle 95 % of the differences are the interval. It says how much the
choice of images decides, and nothing of the seeds that the networks were trained with.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Score = Callable[[NDArray[np.int64]], float | None]  # of images, by their numbers; some stand there several times
COVERED = 95.0  # percent of the differences


class Difference(NamedTuple):
    """How much the score of a second network differs from that of a first.

    Attributes:
        value: second minus first, on all images.
        low, high: ends of the interval.
        replicates: draws that have a score.
        seed: of the draws.
    """

    value: float
    low: float
    high: float
    replicates: int
    seed: int

    @property
    def is_shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    first: Score, second: Score, count: int, *, replicates: int = 1000, seed: int = 0
) -> Difference | None:
    """Returns the difference of two scores with its interval; None where it has no value on all images.

    Args:
        first: the score of some images.
        second: likewise; asked about the same images.
        count: number of images.
        replicates: draws.
        seed: of the draws.

    Example:
        >>> right = np.array([1.0] * 50 + [0.0] * 50), np.array([1.0] * 90 + [0.0] * 10)
        >>> change = paired_bootstrap(lambda i: right[0][i].mean(), lambda i: right[1][i].mean(), 100)
        >>> round(change.value, 2), change.is_shown, bool(change.low < 0.4 < change.high)
        (0.4, True, True)
    """
    everything = np.arange(count)
    whole = _difference(first, second, everything)
    if whole is None:
        return None
    draws = np.random.default_rng(seed)
    differences = [_difference(first, second, draws.integers(0, count, count)) for _ in range(replicates)]
    known = [value for value in differences if value is not None]
    if not known:
        return None
    half = (100 - COVERED) / 2
    low, high = np.percentile(known, [half, 100 - half])
    return Difference(whole, float(low), float(high), len(known), seed)


def _difference(first: Score, second: Score, images: NDArray[np.int64]) -> float | None:
    one, other = first(images), second(images)
    return None if one is None or other is None else float(other - one)
