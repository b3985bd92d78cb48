"""What a run says while it goes on: its log, and how many images are read, on standard error."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from unpool.launched import environment
from unpool.streams import write_message

if TYPE_CHECKING:
    from rich.progress import Progress


@contextmanager
def audible(progress: Callable[[int, int], None] | None) -> Iterator[Callable[[int, int], None] | None]:
    """Inside, what of the log of `unpool` no handler of the program listens to is written to standard error.

    A program whose handlers hear level INFO gets nothing more; after `logging.basicConfig()`, which hears warnings,
    these go to its handlers alone, and the rest is written. Of several processes of one run the leader alone says it.

    Args:
        progress: of the caller; called in place of the bar.

    Returns:
        What is to be called with (images done, images in all).
    """
    log = logging.getLogger("unpool")
    rest = _RestHandler(log)
    if rest.listeners(logging.INFO):
        yield progress
        return
    level, propagates, handlers = log.level, log.propagate, log.handlers
    log.handlers, log.propagate = [logging.NullHandler() if environment().rank else rest], False
    log.setLevel(logging.INFO)
    try:
        with ReadingBar() as bar:
            yield bar if progress is None else progress
    finally:
        log.handlers, log.propagate = handlers, propagates
        log.setLevel(level)


@contextmanager
def log_to_stderr(*, verbose: bool = False) -> Iterator[None]:
    """Writes the log of `unpool` to standard error, from level INFO on; where `verbose`, from DEBUG on.

    Of several processes of one run the leader alone does.
    """
    log = logging.getLogger("unpool")
    level, handler = log.level, logging.NullHandler() if environment().rank else _StderrHandler()
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class ReadingBar:
    """Context manager that says on standard error how many images are read; call it with (done, total).

    On a terminal a bar, which disappears when done = total; else a line.

    Args:
        verb: what is done with the images.
        only_line: no bar on a terminal either, since other lines are written meanwhile.
    """

    def __init__(self, verb: str = "reading", *, only_line: bool = False) -> None:
        self.verb = verb
        self.only_line = only_line
        self._bar: Progress | None = None
        self._is_reading = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, done: int, total: int) -> None:
        if environment().rank:
            return
        if not self._is_reading:
            self._is_reading = True
            self._start(f"{self.verb} {total:,} {'image' if total == 1 else 'images'}")
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._stop()

    def _start(self, text: str) -> None:
        if self.only_line or sys.stderr is None or not sys.stderr.isatty():
            write_message(text)
            return
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._bar.add_task(text)
        self._bar.start()

    def _stop(self) -> None:
        self._is_reading = False
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _StderrHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        write_message(f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text)


class _RestHandler(_StderrHandler):
    """Passes each record to the handlers that listened to it when this was made, and writes those that none did."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._least = log.getEffectiveLevel()
        self._handlers: list[logging.Handler] = []
        above: logging.Logger | None = log
        while above is not None:
            self._handlers += [one for one in above.handlers if not isinstance(one, logging.NullHandler)]
            above = above.parent if above.propagate else None

    def listeners(self, level: int) -> list[logging.Handler]:
        return [handler for handler in self._handlers if level >= max(self._least, handler.level)]

    def emit(self, record: logging.LogRecord) -> None:
        listeners = self.listeners(record.levelno)
        for handler in listeners:
            handler.handle(record)
        if not listeners:
            super().emit(record)
