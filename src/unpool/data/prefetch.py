"""A thread that makes batches ahead of their consumer."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from unpool.types import Batch

_POLL_S = 0.2


class Prefetch:
    """Iterates over `source` in a thread; what the source raises is raised in the consumer.

    Args:
        source: batches in order.
        ahead: batches kept ready.
        check: called while the consumer waits, to raise if the source hangs.
        computes: the source does tensor work in this thread, which then takes one core.

    Attributes:
        waited_s: time the consumer waited for data.
        ready_s: time data waited for the consumer, one batch after another.
    """

    def __init__(self, source: Iterator[Batch], *, ahead: int, check: Callable[[], None], computes: bool) -> None:
        self.waited_s = 0.0
        self.ready_s = 0.0
        self._source = source
        self._check = check
        self._queue: queue.Queue[tuple[str, Any, float]] = queue.Queue(ahead)
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(computes,), name="unpool-data", daemon=True)

    def start(self) -> None:
        """Starts the thread; the caller's number of threads stays the same."""
        threads = torch.get_num_threads()
        self._thread.start()
        self._started.wait()
        torch.set_num_threads(threads)  # the call in the thread is partly process-wide

    def __iter__(self) -> Iterator[Batch]:
        while True:
            kind, value, ready_at = self._next()
            if kind == "end":
                return
            if kind == "error":
                raise value
            self.ready_s += max(0.0, time.monotonic() - ready_at)
            yield value

    def stop(self) -> None:
        """Ends the thread; one that hangs in a read is left behind."""
        self._stopping.set()
        self._thread.join(timeout=1.0)

    def _next(self) -> tuple[str, Any, float]:
        began = time.monotonic()
        try:
            while True:
                try:
                    return self._queue.get(timeout=_POLL_S)
                except queue.Empty:
                    self._check()
        finally:
            self.waited_s += time.monotonic() - began

    def _run(self, computes: bool) -> None:  # noqa: FBT001
        if computes:
            torch.get_num_threads()  # the first call in a thread takes the process-wide number, undoing what was set
            torch.set_num_threads(1)
        self._started.set()
        try:
            for batch in self._source:
                self._put("batch", batch)
                if self._stopping.is_set():
                    return
            self._put("end", None)
        except BaseException as error:  # a thread has nobody to raise to: the consumer does it
            self._put("error", error)

    def _put(self, kind: str, value: object) -> None:
        ready_at = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._queue.put((kind, value, ready_at), timeout=_POLL_S)
            except queue.Full:
                continue
            return
