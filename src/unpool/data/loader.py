"""Batches of an order, made ahead of time by a thread or by processes."""

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from itertools import chain
from typing import Protocol

from unpool.data.image_file import Unusable
from unpool.data.prefetch import Prefetch
from unpool.data.seeding import seed_generators, shared_restored
from unpool.data.streamed import draws_itself
from unpool.data.workers import Pool, Task, Watch, read_batch
from unpool.errors import DataError
from unpool.types import Batch, Samples, Transform

_AHEAD = 3  # batches kept ready
_log = logging.getLogger(__name__)


class Order(Protocol):
    """Which samples each batch of an epoch takes; a pure function of its arguments and the epoch.

    Attributes:
        num_samples: size of the set that it orders.
        batch: samples in a full batch.
        steps_per_epoch: batches in every epoch; the same number, since a resumed run counts positions in one.
    """

    @property
    def num_samples(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def steps_per_epoch(self) -> int: ...
    def batches(self, epoch: int) -> list[list[int]]: ...


@dataclass
class Loader:
    """Streams batches over epochs.

    Args:
        samples: the set.
        transform: samples of one batch and the epoch -> the batch.
        order: of these samples.
        workers: processes, spawned at the first `stream` and kept until `close`; 0 is one thread of this process.
        timeout_s: longest time for one sample.
        seed: of the numbers that a data set of the caller's own draws in a process.

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
    order: Order
    workers: int
    timeout_s: float = 120.0
    seed: int = 0
    waited_s: float = field(default=0.0, init=False)
    ready_s: float = field(default=0.0, init=False)
    _pool: Pool | None = field(default=None, init=False, repr=False)
    _replaced: set[int] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.samples)
        if self.workers < 0:
            raise ValueError(f"workers is {self.workers}; expected at least 0")
        if self.order.num_samples != count:
            raise ValueError(f"the order is of {self.order.num_samples} samples and the set has {count}")
        if not count:
            raise DataError("there are no samples to load: check data.root and the split")
        if not getattr(self.order, "whole", self.order).steps_per_epoch:  # of several processes some may have none
            raise DataError(
                f"{count} samples do not fill one batch of {self.batch} and train.drop_last leaves out the "
                f"rest: set train.batch={count} or train.drop_last=false"
            )

    @property
    def batch(self) -> int:
        """Samples in a full batch."""
        return self.order.batch

    @property
    def steps_per_epoch(self) -> int:
        return self.order.steps_per_epoch

    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]:
        """Batches from step `position` of `epoch` (both from 0) to the end of epoch `epochs - 1`."""
        tasks = self._tasks(epoch, position, epochs)
        clock: list[float] = [0.0, time.monotonic(), 0.0]
        if self.workers:
            pool, self._pool = self._pool or self._new_pool(), None  # a stream left half-way takes its workers along
            ahead = Prefetch(pool.batches(tasks), ahead=_AHEAD, check=lambda: None, computes=False)
        else:
            pool = None
            made = (read_batch(self.samples, self.transform, task, clock=clock) for task in tasks)
            watch = Watch(clock, self.samples, self.timeout_s)
            ahead = Prefetch(made, ahead=_AHEAD, check=watch.check, computes=True)
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
                self._report_replaced(batch)
                yield batch
            finished = True
        finally:
            ahead.stop()
            if pool is not None and finished and self._pool is None:
                self._pool = pool
            elif pool is not None:
                pool.close()

    def _report_replaced(self, batch: Batch) -> None:
        """Names each sample that cannot be read, once."""
        asked = batch["replaced"].tolist() if "replaced" in batch else []
        for position in set(asked) - self._replaced - {-1}:
            self._replaced.add(position)
            other = self.samples.names[int(batch["index"][asked.index(position)])]
            _log.warning(
                "%s cannot be read (%s): replaced by %s here, by a sample of the same draw in each epoch",
                self.samples.names[position],
                _reason(self.samples, position),
                other,
            )

    def _new_pool(self) -> Pool:
        return Pool(self.samples, self.transform, workers=self.workers, timeout_s=self.timeout_s, seed=self.seed)

    def _tasks(self, epoch: int, position: int, epochs: int) -> Iterator[Task]:
        plans = ((e, self.order.batches(e)[position if e == epoch else 0 :]) for e in range(epoch, epochs))
        return chain.from_iterable((Task(e, indices) for indices in batches) for e, batches in plans)

    def batch_of(self, indices: list[int], epoch: int) -> Batch:
        """One batch made at once, in this thread; where processes make the others, by the numbers that they draw."""
        before = partial(seed_generators, self.seed) if self.workers and draws_itself(self.samples) else None
        with shared_restored() if before else nullcontext():
            batch = read_batch(self.samples, self.transform, Task(epoch, indices), clock=[0.0, 0.0], before=before)
        batch.pop("replaced", None)
        return batch


def _reason(samples: Samples, position: int) -> str:
    try:
        samples[position]
    except Unusable as error:
        return error.fault.reason
    return "for a time only"
