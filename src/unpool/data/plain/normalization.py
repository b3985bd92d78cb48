"""The mean and deviation by which a data set normalises its images, as its transforms name them."""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

_LINKS = ("dataset", "datasets", "transform", "transforms")  # of torch's and torchvision's data sets and compositions
_DEEPEST = 8


def find_normalization(dataset: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation of each channel; None where no transform of the data set names them, or several differ.

    Looked through are the attributes dataset, datasets, transform and transforms, as torch's and torchvision's data
    sets and compositions have them, for an object that has both `mean` and `std`, such as torchvision's `Normalize`.

    >>> class Normalize:
    ...     mean, std = [0.5], [0.25]
    >>> class Set:
    ...     transform = Normalize()
    >>> find_normalization(Set())
    ((0.5,), (0.25,))
    """
    pairs = set(_pairs(dataset, _DEEPEST))
    return pairs.pop() if len(pairs) == 1 else None


def _pairs(value: Any, depth: int) -> Iterator[tuple[tuple[float, ...], tuple[float, ...]]]:
    mean, std = _numbers(getattr(value, "mean", None)), _numbers(getattr(value, "std", None))
    if mean and std and len(mean) == len(std):
        yield mean, std
    if depth:
        for name in _LINKS:
            linked = getattr(value, name, None)
            for item in linked if isinstance(linked, list | tuple) else [linked]:
                if item is not None and item is not value:
                    yield from _pairs(item, depth - 1)


def _numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(one, Real) for one in value):
        return ()
    return tuple(float(one) for one in value)
