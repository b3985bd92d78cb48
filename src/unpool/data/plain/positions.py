"""Which sample of which object a position of a data set is, where others take parts of it."""

from bisect import bisect_right
from typing import Any

from torch.utils.data import ConcatDataset, Subset

from unpool.data.plain.source import Collated


def origin(dataset: Any, index: int) -> tuple[int, int]:
    """The identity of the object that gives a sample, and the sample's position there.

    >>> whole = ["a", "b", "c"]
    >>> origin(Subset(whole, [2, 0]), 0) == (id(whole), 2), origin(ConcatDataset([["x"], whole]), 3) == (id(whole), 2)
    (True, True)
    """
    while True:
        if isinstance(dataset, Subset):
            dataset, index = dataset.dataset, int(dataset.indices[index])
        elif isinstance(dataset, ConcatDataset):
            part = bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
        elif isinstance(dataset, Collated):
            dataset = dataset.dataset
        else:
            return id(dataset), index
