"""An iterable of samples, read by position as long as the positions rise."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from unpool.errors import DataError

_log = logging.getLogger(__name__)


class Iterated:
    """Items of an iterable, which is begun anew where a position is asked for that has gone by.

    What is passed over on the way to a position is kept until it is asked for, so that threads may ask in any order.

    Args:
        dataset: each iteration gives the same number of items; counted by one iteration where it has no length.
    """

    def __init__(self, dataset: Iterable[Any]) -> None:
        self.dataset = dataset
        self._iterator: Iterator[Any] | None = None
        self._next = 0
        self._passed: dict[int, Any] = {}
        self._length = self._count()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        if index in self._passed:
            return self._passed.pop(index)
        if self._iterator is None or index < self._next:
            self._iterator, self._next, self._passed = iter(self.dataset), 0, {}
        for item in self._iterator:
            self._next += 1
            if self._next > index:
                return item
            self._passed[self._next - 1] = item
        count, self._iterator = self._next, None
        raise DataError(f"an iteration of the data set ended after {count} samples, and {self._length} were expected")

    def _count(self) -> int:
        try:
            return len(self.dataset)  # type: ignore[arg-type]
        except TypeError:
            _log.info("counting the samples of %s by one iteration of it", type(self.dataset).__name__)
            return sum(1 for _ in self.dataset)
