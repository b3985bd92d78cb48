"""Standard output for results, standard error for everything else; neither fails on a character or a closed pipe."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from typing import Any, Self

from rich.console import Console
from rich.progress import Progress


def accept_any_text() -> None:
    """A terminal that lacks a character gets its escape instead of an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line of the result, on standard output."""
    if sys.stdout is not None:  # closed by the caller
        sys.stdout.write(text + "\n")


def tell(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def say_json(values: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`; ASCII, so that every terminal and reader takes it."""
    say(json.dumps(values, allow_nan=False, indent=1))


def say_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell; the last is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        say("  ".join([*cells, row[-1]]).rstrip())


@contextmanager
def only_results() -> Iterator[None]:
    """Sends what libraries print to standard error, so that standard output holds the result alone."""
    if sys.stderr is None:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def flush() -> None:
    """Writes out what is buffered, while an error can still be told."""
    if sys.stdout is not None:
        sys.stdout.flush()


def abandon_output() -> None:
    """Points standard output nowhere where it cannot be written, or Python would complain once more at its end."""
    try:
        flush()
    except OSError:
        if isinstance(sys.stdout, TextIOWrapper):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def log_shown() -> Iterator[None]:
    """Sends what the library has to tell to standard error."""
    log, teller = logging.getLogger("unpool"), _Teller()
    level = log.level
    log.addHandler(teller)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(teller)
        log.setLevel(level)


class ReadingBar:
    """A bar on standard error while files are read, gone as soon as all are: training draws its own."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.add_task("reading")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        tell(f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text)
