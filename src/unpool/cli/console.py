"""Writes results to standard output and everything else to standard error, without failing on unknown characters."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper
from typing import Any

from unpool.streams import lasting

_LEAST = 12  # characters of a last column that are worth a place on a narrow terminal


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


def write_json(values: Mapping[str, Any]) -> None:
    """Writes the one JSON object of `--json` to standard output, in ASCII, which every encoding has."""
    write_result(json.dumps(values, allow_nan=False, indent=1))


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Writes rows of cells to standard output, each column as wide as its longest cell.

    A terminal gets lines that fit: the last column is shortened, and columns behind the second that have no room are
    left out. A pipe gets all.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns if is_terminal() else None
    if room is not None:
        while len(widths) > 2 and sum(widths[:-1]) + 2 * (len(widths) - 1) + min(_LEAST, widths[-1]) > room:
            widths.pop()
        widths[-1] = max(_LEAST, room - sum(widths[:-1]) - 2 * (len(widths) - 1))
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        last = row[len(widths) - 1]
        write_result("  ".join([*cells[:-1], last if room is None else _cut(last, widths[-1])]).rstrip())


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


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
