"""Batches in an order that depends on nothing but (seed, epoch), made ahead of time by a thread or by processes."""

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from itertools import chain, groupby

from torch import Tensor

from unpool.data.draws import permutation
from unpool.data.prefetch import Prefetch
from unpool.data.workers import Pool, Task, check_clock, read_batch
from unpool.errors import DataError
from unpool.types import Batch, Samples, Transform

_AHEAD = 3  # batches kept ready


def order(seed: int, epoch: int, n: int) -> Tensor:
    """(n,) int64: the order in which an epoch takes the samples; a pure function of its arguments."""
    return permutation(seed, epoch, n)


@dataclass
class Loader:
    """Streams batches over epochs.

    Args:
        samples: the set.
        transform: samples of one batch and the epoch -> the batch.
        batch: samples a batch; the last one of an epoch may be smaller.
        seed: of the order.
        shuffle: a new order every epoch; otherwise that of the set.
        workers: processes, spawned at the first `stream` and kept until `close`; 0 is one thread of this process.
        drop_last: leave out a last batch that is not full.
        timeout_s: longest time for one sample.
        group: only neighbours for which this gives the same value share a batch, such as those of one size.

    Attributes:
        waited_s: time spent waiting for data since the start.
        ready_s: time that finished batches waited to be taken since the start.

    Raises:
        DataError: there is nothing to load.
        EnvironmentFault: a worker died, hangs, or cannot be started.
    """

    samples: Samples
    transform: Transform
    _: KW_ONLY
    batch: int
    seed: int
    shuffle: bool
    workers: int
    drop_last: bool = False
    timeout_s: float = 120.0
    group: Callable[[int], Hashable] | None = None
    waited_s: float = field(default=0.0, init=False)
    ready_s: float = field(default=0.0, init=False)
    _pool: Pool | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.batch < 1 or self.workers < 0:
            raise ValueError(f"batch is {self.batch} and workers {self.workers}; expected at least 1 and at least 0")
        if self.shuffle and self.group is not None:
            raise ValueError("a shuffled order has no neighbours of one group: give shuffle=False, or no group")
        if not len(self.samples):
            raise DataError("there are no samples to load: check data.root and the split")
        if not self.steps_per_epoch:
            raise DataError(
                f"{len(self.samples)} samples do not fill one batch of {self.batch} and train.drop_last leaves out the "
                f"rest: set train.batch={len(self.samples)} or train.drop_last=false"
            )

    @property
    def steps_per_epoch(self) -> int:
        if self.group is None:
            full, rest = divmod(len(self.samples), self.batch)
            return full + bool(rest and not self.drop_last)
        return len(self._batches(0))

    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]:
        """Batches from step `position` of `epoch` (both from 0) to the end of epoch `epochs - 1`."""
        tasks = self._tasks(epoch, position, epochs)
        clock: list[float] = [0.0, time.monotonic()]
        if self.workers:
            pool, self._pool = self._pool or self._new_pool(), None  # a stream left half-way takes its workers along
            ahead = Prefetch(pool.batches(tasks), ahead=_AHEAD, check=lambda: None, computes=False)
        else:
            pool = None
            made = (read_batch(self.samples, self.transform, task, clock=clock) for task in tasks)
            check = lambda: check_clock(clock, self.samples, self.timeout_s)  # noqa: E731
            ahead = Prefetch(made, ahead=_AHEAD, check=check, computes=True)
        yield from self._drain(ahead, pool)

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _drain(self, ahead: Prefetch, pool: Pool | None) -> Iterator[Batch]:
        waited_s, ready_s = self.waited_s, self.ready_s
        finished = False
        ahead.start()
        try:
            for batch in ahead:
                self.waited_s, self.ready_s = waited_s + ahead.waited_s, ready_s + ahead.ready_s
                yield batch
            finished = True
        finally:
            ahead.stop()
            if pool is not None and finished and self._pool is None:
                self._pool = pool
            elif pool is not None:
                pool.close()

    def _new_pool(self) -> Pool:
        return Pool(self.samples, self.transform, workers=self.workers, timeout_s=self.timeout_s)

    def _tasks(self, epoch: int, position: int, epochs: int) -> Iterator[Task]:
        plans = ((e, self._batches(e)[position if e == epoch else 0 :]) for e in range(epoch, epochs))
        return chain.from_iterable((Task(e, indices) for indices in batches) for e, batches in plans)

    def _batches(self, epoch: int) -> list[list[int]]:
        n = len(self.samples)
        indices: list[int] = order(self.seed, epoch, n).tolist() if self.shuffle else list(range(n))
        groups = [indices] if self.group is None else [list(g) for _, g in groupby(indices, self.group)]
        batches = [g[i : i + self.batch] for g in groups for i in range(0, len(g), self.batch)]
        return [b for b in batches if len(b) == self.batch] if self.drop_last else batches
