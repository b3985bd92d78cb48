"""An iterable of samples, read by position as long as the positions rise."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from unpool.errors import DataError

_log = logging.getLogger(__name__)
_END = object()


class Iterated:
    """Items of an iterable, which is begun anew where a position is asked for that has gone by.

    None is kept: a stream may be larger than memory, and one that shuffles gives others when it is begun anew. So only
    one part of the program at a time may read it, from position 0 on.

    Args:
        dataset: each iteration gives the same number of items; counted by one iteration where it has no length.

    Raises:
        DataError: by `[i]`, where an iteration has fewer or more items than its length says.
    """

    def __init__(self, dataset: Iterable[Any]) -> None:
        self.dataset = dataset
        self._iterator: Iterator[Any] | None = None
        self._next = 0
        self._length = self._count()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        if self._iterator is None or index < self._next:
            self._iterator, self._next = iter(self.dataset), 0
        for item in self._iterator:
            self._next += 1
            if self._next > index:
                self._require_end()
                return item
        count, self._iterator = self._next, None
        raise DataError(f"an iteration of the data set ended after {count} samples, and {self._length} were expected")

    def _require_end(self) -> None:
        if self._next == self._length and self._iterator is not None and next(self._iterator, _END) is not _END:
            self._iterator = None
            raise DataError(
                f"the data set has a length of {self._length}, and an iteration of it goes on after as many samples: "
                "make both equal, as itertools.islice ends an iteration"
            )

    def _count(self) -> int:
        try:
            return len(self.dataset)  # type: ignore[arg-type]
        except TypeError:
            _log.info("counting the samples of %s by one iteration of it", type(self.dataset).__name__)
            return _counted(self.dataset)


def _counted(dataset: Iterable[Any]) -> int:
    count = 0
    for count, _ in enumerate(dataset, start=1):
        if count >= 1000 and count == 10 ** (len(str(count)) - 1):
            _log.warning(
                "counted %d samples so far: if the data set has no end, give it one by itertools.islice", count
            )
    return count
