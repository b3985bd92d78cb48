"""How long the phases of an answer take: backbone, proposals, head, nms and whatever else its code names.

Code names a phase by `with phase("head"):`, which costs a microsecond where nobody measures. What is within another
phase counts to the inner one alone, so that the phases of an answer add up to its time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from statistics import median

import torch

REST = "rest"  # what no phase names, such as resizing the image
TOTAL = "total"


class _Clock:
    """Charges the time that passes to the innermost phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stack = [REST]
        self._since = _now()

    def enter(self, name: str) -> None:
        self.charge()
        self.seconds.setdefault(name, 0.0)
        self._stack.append(name)

    def leave(self) -> None:
        self.charge()
        self._stack.pop()

    def charge(self) -> None:
        now, name = _now(), self._stack[-1]
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


_clock: ContextVar[_Clock | None] = ContextVar("clock", default=None)


def _now() -> float:
    """Seconds, once an accelerator has done what it was asked for."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Counts the time inside to a phase where `measured` is at work; a decorator of functions too.

    >>> with phase("head"):
    ...     pass
    """
    clock = _clock.get()
    if clock is None:
        yield
        return
    clock.enter(name)
    try:
        yield
    finally:
        clock.leave()


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Seconds of each phase inside, in the order of their first use, and REST; filled when the context ends.

    >>> with measured() as seconds, phase("head"):
    ...     pass
    >>> list(seconds)
    ['head', 'rest']
    """
    clock = _Clock()
    seconds: dict[str, float] = {}
    token = _clock.set(clock)
    try:
        yield seconds
    finally:
        clock.charge()
        _clock.reset(token)
        rest = clock.seconds.pop(REST)
        seconds.update(clock.seconds, **{REST: rest})


def median_seconds(ask: Callable[[], object], *, passes: int, warm_up: int = 2) -> dict[str, float]:
    """Medians over several passes of the seconds of each phase, REST and TOTAL.

    A median stands for each by itself: together they differ from that of the total by a little.

    Args:
        ask: one pass.
        passes: that are measured, at least one.
        warm_up: passes before them, in which memory is allocated and kernels are chosen.

    Example:
        >>> list(median_seconds(lambda: None, passes=3))
        ['rest', 'total']
    """
    for _ in range(warm_up):
        ask()
    seen = []
    for _ in range(passes):
        with measured() as seconds:
            ask()
        seen.append({**seconds, TOTAL: sum(seconds.values())})
    names = dict.fromkeys(name for one in seen for name in one)
    last = [name for name in (REST, TOTAL) if name in names]
    ordered = [*(name for name in names if name not in last), *last]
    return {name: median(one.get(name, 0.0) for one in seen) for name in ordered}
