"""An order shared out among several processes."""

from unpool.data.loader import Order
from unpool.types import Part


class _Shared:
    """What both ways to share have in common.

    Attributes:
        whole: the order of all processes together.
    """

    def __init__(self, order: Order, *, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} and world_size {world_size}; expected 0 <= rank < world_size")
        self.whole = order
        self._rank = rank
        self._world_size = world_size

    @property
    def num_samples(self) -> int:
        """Samples in the whole set, not this rank's share."""
        return self.whole.num_samples


class ByRank(_Shared):
    """The part that one process takes of every batch of an order, for training.

    A batch is cut into `world_size` parts of neighbours, whose sizes differ by 1 at most, larger ones first. Every rank
    has the same number of batches, and at each step the ranks together take the batch of `order`, for any `world_size`.
    Where a batch has fewer samples than there are ranks, as the last of a set can have, the ranks without one get its
    first sample to go through the step with, which `part` says is not to be counted. Parts of `PTimesK` hold whole
    classes where P is a multiple of `world_size`.

    Args:
        order: of all processes together; its batch is shared out.
        rank: of this process, from 0.
        world_size: number of processes.
        unit: neighbours that stay in one part, such as the two of a pair; the last of a batch may be fewer. Sizes of
            parts then differ by as many.

    Example:
        >>> from unpool.data.order import Sequential
        >>> parts = ByRank(Sequential(7, batch=4), rank=1, world_size=2)
        >>> parts.batches(0), parts.part(0, 1)
        ([[2, 3], [6]], Part(first=2, count=1, total=3))
    """

    def __init__(self, order: Order, *, rank: int, world_size: int, unit: int = 1) -> None:
        super().__init__(order, rank=rank, world_size=world_size)
        self._unit = unit
        self._epoch = -1
        self._totals: list[int] = []

    @property
    def batch(self) -> int:
        """Samples in the largest part of a full batch."""
        return min(self._unit * -(-self.whole.batch // (self._unit * self._world_size)), self.whole.batch)

    @property
    def steps_per_epoch(self) -> int:
        return self.whole.steps_per_epoch

    def batches(self, epoch: int) -> list[list[int]]:
        """This rank's part of each batch, or the sample that stands in for an empty one."""
        parts = [(self._part(len(indices)), indices) for indices in self.whole.batches(epoch)]
        return [indices[part.first : part.first + part.count] or indices[:1] for part, indices in parts]

    def part(self, epoch: int, position: int) -> Part:
        """Which samples of the whole batch this rank takes at a position of an epoch."""
        if epoch != self._epoch:
            self._epoch, self._totals = epoch, [len(indices) for indices in self.whole.batches(epoch)]
        return self._part(self._totals[position])

    def _part(self, total: int) -> Part:
        size, larger = divmod(-(-total // self._unit), self._world_size)
        first, stop = (self._unit * (rank * size + min(rank, larger)) for rank in (self._rank, self._rank + 1))
        first, stop = min(first, total), min(stop, total)
        return Part(first, stop - first, total)


class WholeBatches(_Shared):
    """The batches that one process takes of an order, each whole, for evaluation: ranks may have unequal numbers.

    Example:
        >>> from unpool.data.order import Sequential
        >>> WholeBatches(Sequential(7, batch=3), rank=1, world_size=2).batches(0)
        [[3, 4, 5]]
    """

    @property
    def batch(self) -> int:
        return self.whole.batch

    @property
    def steps_per_epoch(self) -> int:
        return len(range(self._rank, self.whole.steps_per_epoch, self._world_size))

    def batches(self, epoch: int) -> list[list[int]]:
        """Every `world_size`-th batch, from that of this rank on."""
        return self.whole.batches(epoch)[self._rank :: self._world_size]
