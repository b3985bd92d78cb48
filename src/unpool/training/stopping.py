"""Asks a run to stop: by SIGINT, SIGTERM, SIGHUP, or a time limit. The run is saved at the next safe moment."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from unpool.errors import STOP_SIGNALS, Stopped, TimeLimit


class StopRequest:
    """While entered, notes the first signal; a second SIGINT raises KeyboardInterrupt at once.

    May be entered again inside itself. A signal that is ignored, as SIGHUP by nohup, stays ignored. Outside the main
    thread signals are left alone and only the time limit counts.

    Args:
        time_limit_s: seconds after the first entering; None sets no limit.
    """

    def __init__(self, time_limit_s: float | None = None) -> None:
        self.time_limit_s = time_limit_s
        self.number: int | None = None
        self._depth = 0
        self._started_s: float | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if self._started_s is None:
            self._started_s = time.monotonic()
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._previous = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            for number, handler in self._previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            self._previous = {}

    def check(self) -> None:
        """Nothing while the run may go on.

        Raises:
            Stopped: a signal has come.
            TimeLimit: the time is over.
        """
        reason = self.reason()
        if reason is not None:
            raise reason

    def reason(self) -> Stopped | TimeLimit | None:
        """What `check` raises."""
        if self.number is not None:
            by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
            return Stopped(f"stopped{by}", self.number)
        is_over = (
            self.time_limit_s is not None
            and self._started_s is not None
            and time.monotonic() - self._started_s >= self.time_limit_s
        )
        return TimeLimit(f"stopped at the time limit of {self.time_limit_s:g} s") if is_over else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number
