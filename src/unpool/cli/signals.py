"""What SIGINT, SIGTERM and SIGHUP do to the program: one line, and the exit code 128 + the signal's number.

An exception that a handler raises while a module is imported may turn into an ImportError, be lost, or abort the
process. Until all is imported a signal therefore ends the process by itself; only then it raises. While a run trains,
its `StopRequest` takes the signals. One that was ignored when the program started, as by nohup, stays ignored.
"""

import os
import signal
import sys
from collections.abc import Callable

from unpool.errors import STOP_SIGNALS
from unpool.launched import is_first_here

LONGEST_S = 30.0  # from a signal that raises to the end


class Interrupted(KeyboardInterrupt):
    """A signal has come; `number` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def end_at_once() -> None:
    """From now on a signal ends the process: while modules are imported. Takes up what a restart left blocked."""
    _handle(_end)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def raise_once() -> None:
    """From now on the first signal raises Interrupted; a second, or `LONGEST_S` without an end, ends the process."""
    _handle(_raise)


def exit_with(code: int) -> None:
    """From now on a signal ends the process with this code: all that was asked for is done."""
    _handle(lambda number, frame: os._exit(code))


def line_of(number: int) -> str:
    """What is written of the end by a signal; Ctrl-C is what the user wanted."""
    return "stopped" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"


def _handle(handler: Callable[[int, object], object]) -> None:
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _raise(number: int, frame: object) -> None:
    _handle(_end)
    import threading

    late = threading.Timer(LONGEST_S, _end, (number, None))
    late.daemon = True
    late.start()
    raise Interrupted(number)


def _end(number: int, frame: object) -> None:
    clear = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # a line that was begun, and a cursor that a bar has hidden
    try:
        if is_first_here():
            os.write(2, f"{clear}{line_of(number)}\n".encode())
    finally:
        os._exit(128 + number)
