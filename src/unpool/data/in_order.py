"""Calls a function with many indices in threads, results in order."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
_SLICE = 8


def called_in_order(function: Callable[[int], Item], indices: Sequence[int], *, threads: int) -> Iterator[Item]:
    """Calls the function with each index and yields in order; few calls run ahead, so that memory stays bounded."""
    if threads == 1:
        yield from map(function, indices)
        return
    pool, waiting = ThreadPoolExecutor(threads), deque()
    try:
        for start in range(0, len(indices), _SLICE):
            waiting.append(pool.submit(lambda part: [function(i) for i in part], indices[start : start + _SLICE]))
            if len(waiting) > 3 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a caller that stops waits for no call, and may be of the pool
