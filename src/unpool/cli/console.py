"""Standard output for results, standard error for everything else; neither fails on a character or a closed pipe."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from typing import Any


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


def show_log() -> None:
    """Sends what the library has to tell to standard error, once."""
    log = logging.getLogger("unpool")
    if not any(isinstance(handler, _Teller) for handler in log.handlers):
        log.addHandler(_Teller())
    log.setLevel(logging.INFO)


@contextmanager
def reading_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, gone when done, and the function that moves it: (files done, files in all)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        tell(f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text)
