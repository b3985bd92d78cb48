"""Writes results to standard output and everything else to standard error, without failing on unknown characters."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Self

from unpool.streams import lasting

if TYPE_CHECKING:
    from rich.progress import Progress


def escape_unencodable() -> None:
    """Makes standard output and error write an escape for each character that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def outlast_readers() -> None:
    """Makes the process go on where its terminal is closed, or nobody reads its output any more.

    A full disk behind standard output is still an error. Streams that the caller closed are the null device, lest a
    file of a run gets their number and with it the messages of libraries.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003, a built-in
    sys.stdout, sys.stderr = lasting(sys.stdout, raises=True), lasting(sys.stderr)


def write_result(text: str) -> None:
    """Writes a line of the result to standard output."""
    if sys.stdout is not None:  # closed by the caller
        sys.stdout.write(text + "\n")


def result_writer() -> Callable[[str], None]:
    """A function that writes a line to what is standard output now, at once, whatever stands for it later."""
    stream = sys.stdout

    def write(text: str) -> None:
        if stream is not None:
            stream.write(text + "\n")
            stream.flush()

    return write


def write_message(text: str) -> None:
    """Writes a line to standard error, at once."""
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def write_json(values: Mapping[str, Any]) -> None:
    """Writes the one JSON object of `--json` to standard output, in ASCII, which every encoding has."""
    write_result(json.dumps(values, allow_nan=False, indent=1))


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Writes rows of cells to standard output, each column as wide as its longest cell.

    Cells of the last column are not padded.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        write_result("  ".join([*cells, row[-1]]).rstrip())


@contextmanager
def library_output_to_stderr() -> Iterator[None]:
    """Sends to standard error what Python libraries print to standard output inside the block."""
    if sys.stderr is None:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def flush() -> None:
    """Writes out the buffer of standard output, while its errors can still be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def abandon_output() -> None:
    """Writes out the buffer of standard output; an error is dropped, since the command has ended with another."""
    with suppress(OSError):
        flush()


@contextmanager
def log_to_stderr(*, verbose: bool = False) -> Iterator[None]:
    """Writes the log of `unpool` to standard error, from level INFO on; where `verbose`, from DEBUG on."""
    log, handler = logging.getLogger("unpool"), _StderrHandler()
    level = log.level
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
