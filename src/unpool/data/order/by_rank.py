"""An order shared out among several processes."""

from unpool.data.loader import Order


class ByRank:
    """The part that one process takes of every batch of an order.

    A batch is cut into `world_size` parts of neighbours, whose sizes differ by 1 at most, larger ones first. Every rank
    has the same number of batches. At each step the ranks together take the batch of `order`, for any `world_size`. A
    batch of fewer samples than ranks, as the last of a set or of a group can be, is first filled up by repeating its
    samples in turn, so that no rank has an empty batch; `drop_last` avoids such batches where no sample may count
    twice. Parts of `PTimesK` hold whole classes where P is a multiple of `world_size`.

    Args:
        order: of all processes together; its batch is shared out.
        rank: of this process, from 0.
        world_size: number of processes.

    Example:
        >>> from unpool.data.order import Sequential
        >>> ByRank(Sequential(7, batch=4), rank=1, world_size=2).batches(0)
        [[2, 3], [6]]
    """

    def __init__(self, order: Order, *, rank: int, world_size: int) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} and world_size {world_size}; expected 0 <= rank < world_size")
        self._order = order
        self._rank = rank
        self._world_size = world_size

    @property
    def num_samples(self) -> int:
        """Samples in the whole set, not this rank's share."""
        return self._order.num_samples

    @property
    def batch(self) -> int:
        """Samples in the largest part of a full batch."""
        return -(-self._order.batch // self._world_size)

    @property
    def steps_per_epoch(self) -> int:
        return self._order.steps_per_epoch

    def batches(self, epoch: int) -> list[list[int]]:
        """This rank's part of each batch."""
        return [self._part(indices) for indices in self._order.batches(epoch)]

    def _part(self, indices: list[int]) -> list[int]:
        count = max(len(indices), self._world_size)
        full = [indices[i % len(indices)] for i in range(count)]
        size, larger = divmod(count, self._world_size)
        first = self._rank * size + min(self._rank, larger)
        return full[first : first + size + (self._rank < larger)]
