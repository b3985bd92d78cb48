"""Judges a verb of Unpool by what its user sees: exit code, message, and the value that it returns."""

import hashlib
import io
import json
import re
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unpool.cli.outcome import guarded

SAME, REFUSED, ACCEPTED = "same", "refused by name", "accepted"
GOOD = (SAME, REFUSED, ACCEPTED, "trained", "refused in training", "stopped")
FAULTS = (
    "traceback",
    "silently other",
    "lost",
    "hang",
    "died",
    "memory",
    "message",
    "not finite",
    "exit code",
    "orphans",
)
LONGEST_LINE = 2_000  # characters; the names of all networks are the longest list that a message has
LONGEST_VALUE = 100  # characters of a value that a message repeats
LONG_VALUE = "q" * 300  # what a case writes to see how much of it a message repeats
PATHS = re.compile(r"/[^\s'\"]*")
_MEASURED = ("_s", "_mib", "per_s")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one case.

    Attributes:
        outcome: one of GOOD or of FAULTS.
        where: what was changed: a file, a kind of mutation.
        detail: the mutation, and what happened, in words.
    """

    outcome: str
    where: str
    detail: str = ""


@dataclass(frozen=True)
class Answer:
    """What a verb did: its exit code, what it wrote to standard error, its value, and the traceback of a fault."""

    code: int
    said: str
    value: Any = None
    trace: str = ""

    @property
    def message(self) -> str:
        """The lines of the error, without what was logged before it."""
        return self.said[max(0, self.said.rfind("error: ")) :].strip() if self.code else ""


def answer(verb: Callable[[], Any]) -> Answer:
    """Runs a verb as the command line does; an error that is none of the user's becomes a traceback."""
    said, values, codes = io.StringIO(), [], []

    def run() -> int:
        values.append(verb())
        return 0

    from unpool.tracing.foreign import foreign_code  # imports torch, which a child of which nothing is asked need not

    with redirect_stderr(said), foreign_code() as failure:
        codes.append(guarded(run, debug=False))
    trace = "".join(traceback.format_exception(failure.error)) if failure.error else ""
    return Answer(codes[0] if codes else 1, said.getvalue(), values[0] if values else None, trace)


def fault_of(given: Answer) -> tuple[str, str] | None:
    """The fault that an answer shows by itself, and its detail; None where there is none."""
    if given.trace:
        return "traceback", given.trace[-1500:]
    if "Traceback (most recent call last)" in given.said:
        return "traceback", given.said[-1500:]
    if given.code and (wrong := wrong_message(given.message)):
        return "message", f"{wrong}: {given.message[:600]}"
    return None


def wrong_message(message: str) -> str:
    """What is wrong with a message of an error; empty where it is one sentence of bounded length a mistake."""
    lines = message.removeprefix("error: ").splitlines()
    if not lines or len(lines[0].split()) < 3:
        return "says nothing"
    if max(map(len, lines)) > LONGEST_LINE:
        return f"a line of {max(map(len, lines))} characters"
    if LONG_VALUE[: LONGEST_VALUE + 1] in message:
        return f"repeats more than {LONGEST_VALUE} characters of a value"
    if " object at 0x" in message or "\0" in message:
        return "shows an object of Python"
    return ""


def computed(value: Any) -> Any:
    """A JSON value without times, memory and paths, which differ from run to run."""
    if isinstance(value, Mapping):
        return {key: computed(item) for key, item in value.items() if not key.endswith(_MEASURED) and key != "run"}
    if isinstance(value, list | tuple):
        return [computed(item) for item in value]
    return PATHS.sub("", value) if isinstance(value, str) else value


def print_of(value: Any) -> str:
    """sha256 of a JSON value's computed part."""
    return hashlib.sha256(json.dumps(computed(value), sort_keys=True, default=str).encode()).hexdigest()


def print_of_folder(folder: Path) -> str:
    """sha256 of the names and bytes of all files in a folder; JSON without what was measured."""
    sums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            is_json = path.suffix == ".json"
            sums[path.name] = print_of(json.loads(data)) if is_json else hashlib.sha256(data).hexdigest()
    return print_of(sums)
