"""Orders that take every sample of the set once an epoch."""

from collections.abc import Hashable, Sequence
from itertools import groupby

import torch

from unpool.data.draws import permutation
from unpool.data.order.batches import check_batch, cut, num_batches

_BATCHES = 1  # stream of the permutation that shuffles whole batches; 0 shuffles samples


class Sequential:
    """Every sample once, in the order of the set, the same in every epoch.

    Args:
        num_samples: size of the set.
        batch: samples in a batch; the last one may be smaller.
        drop_last: leave out batches that are not full.
        groups: one value a sample; only neighbours of equal value share a batch, such as images of one size.

    Example:
        >>> Sequential(5, batch=2, groups="aaabb").batches(0)
        [[0, 1], [2], [3, 4]]
    """

    def __init__(
        self, num_samples: int, *, batch: int, drop_last: bool = False, groups: Sequence[Hashable] | None = None
    ) -> None:
        check_batch(batch)
        if groups is not None and len(groups) != num_samples:
            raise ValueError(f"groups has {len(groups)} values and the set {num_samples} samples; give one a sample")
        self.num_samples = num_samples
        self.batch = batch
        indices = range(num_samples)
        runs = [indices] if groups is None else [list(run) for _, run in groupby(indices, groups.__getitem__)]
        self._batches = cut(runs, batch, drop_last=drop_last)

    @property
    def steps_per_epoch(self) -> int:
        return len(self._batches)

    def batches(self, epoch: int) -> list[list[int]]:
        """The same lists in every epoch."""
        return [list(indices) for indices in self._batches]


class Shuffled:
    """Every sample once, in the order of `draws.permutation(seed, epoch, num_samples)`.

    Args:
        num_samples: size of the set.
        batch: samples in a batch; the last one may be smaller.
        seed: of the order.
        drop_last: leave out the last batch of an epoch where it is not full; each epoch leaves out other samples.
    """

    def __init__(self, num_samples: int, *, batch: int, seed: int, drop_last: bool = False) -> None:
        check_batch(batch)
        self.num_samples = num_samples
        self.batch = batch
        self._seed = seed
        self._drop_last = drop_last

    @property
    def steps_per_epoch(self) -> int:
        return num_batches(self.num_samples, self.batch, drop_last=self._drop_last)

    def batches(self, epoch: int) -> list[list[int]]:
        """A new permutation of the set in every epoch, cut into batches."""
        indices: list[int] = permutation(self._seed, epoch, self.num_samples).tolist()
        return cut([indices], self.batch, drop_last=self._drop_last)


class Grouped:
    """Every sample once; only those of one group share a batch. Samples within groups, and batches, are shuffled.

    Args:
        groups: one value a sample, such as the size of its image.
        batch: samples in a batch; the last one of each group may be smaller.
        seed: of the order.
        drop_last: leave out the last batch of each group where it is not full. Each epoch leaves out other samples of
            a group, but all of a group smaller than a batch.

    Attributes:
        largest: samples in the largest group.
        never_used: samples that no epoch uses.
    """

    def __init__(self, groups: Sequence[Hashable], *, batch: int, seed: int, drop_last: bool = False) -> None:
        check_batch(batch)
        self.num_samples = len(groups)
        self.batch = batch
        self._seed = seed
        self._drop_last = drop_last
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        self._group = torch.tensor([numbers[group] for group in groups], dtype=torch.int64)
        self._counts: list[int] = self._group.bincount().tolist()
        self.largest = max(self._counts, default=0)
        self.never_used = sum(count for count in self._counts if drop_last and count < batch)

    @property
    def steps_per_epoch(self) -> int:
        return sum(num_batches(count, self.batch, drop_last=self._drop_last) for count in self._counts)

    def batches(self, epoch: int) -> list[list[int]]:
        """A new permutation within each group, and a new order of the batches, in every epoch."""
        indices = permutation(self._seed, epoch, self.num_samples)
        indices = indices[self._group[indices].argsort(stable=True)]  # group by group, still shuffled within each
        runs = [part.tolist() for part in indices.split(self._counts)]
        batches = cut(runs, self.batch, drop_last=self._drop_last)
        return [batches[i] for i in permutation(self._seed, epoch, len(batches), stream=_BATCHES).tolist()]
