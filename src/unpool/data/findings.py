"""Collects the faults and oddities of a scan, and decides whether the set can be used."""

import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from unpool.data.image_file import Unreadable, Unusable
from unpool.data.measure import MeasuringReader
from unpool.errors import DataError, require_files
from unpool.types import Fault, Reader

Item = TypeVar("Item")

SKIP_SHARE = 0.01
SKIP_LEAST = 10
_CAUSES, _EXAMPLES = 10, 3  # that a message lists
_log = logging.getLogger(__name__)


class Broken(Fault):
    """A fault that must be mended before anything is trained on the set."""


class Findings:
    """Faults and notes of a scan, and the decision whether the set can be used."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.skipped: list[Fault] = list(reader.faults)
        self._left_out: dict[str, Fault] = {}
        self._broken: list[Fault] = []
        self._causes: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        if isinstance(reader, MeasuringReader):
            self.note("", reader.notes)

    def attempt(self, function: Callable[[int], Item], index: int) -> Item | Fault:
        """Returns `function(index)`, or the fault of the file where it raises; safe in threads."""
        try:
            return function(index)
        except Unreadable as error:
            require_files(error)
            return error.fault
        except OSError as error:
            require_files(error)
            return Fault(self._reader.names[index], f"cannot read ({error.strerror or error})")
        except DataError as error:
            require_files(error)
            self._causes[error.cause] += 1
            fault = error.fault if isinstance(error, Unusable) else Fault(self._reader.names[index], str(error))
            return Broken(*fault)

    def add(self, fault: Fault, name: str) -> None:
        """Records the fault of a sample: one that must be mended, or a file to leave out."""
        if isinstance(fault, Broken):
            self._broken.append(Fault(*fault))
            return
        self.skipped.append(Fault(*fault))
        self._left_out[name] = Fault(*fault)

    def note(self, name: str, sentences: Sequence[str]) -> None:
        """Counts the oddities of one file, by sentence."""
        for sentence in sentences:
            self._notes[sentence] += 1
            self._first.setdefault(sentence, name)

    def verdict(self, kept: int) -> None:
        """Logs skipped files and oddities; raises DataError where the set cannot be used."""
        if self._broken:
            listed = listing(self._broken)
            cause = max(self._causes, key=lambda one: (bool(one), self._causes[one]), default="")
            raise DataError(f"{len(self._broken)} of {len(self._reader)} samples cannot be used:\n{listed}").of(cause)
        total = len(self._reader) + len(self._reader.faults)
        limit = most_skipped(total)
        if len(self.skipped) > limit or not kept:
            allowed = f"more than the {limit} allowed" if kept else "so that none is left"
            problem = f"{len(self.skipped)} of {total} files cannot be read, {allowed}"
            raise DataError(f"{problem}:\n{listing(self.skipped)}").of("data.unreadable")
        if len(self.skipped) > 1:
            _log.warning("%d of %d files are left out", len(self.skipped), total)
        for line in grouped(self.skipped).splitlines():
            _log.warning("left out %s", line.strip().removeprefix("and "))
        if _is_cut(self.skipped):
            where = "under `skipped` in data.json of a run, and in the metrics of an evaluation"
            _log.warning("all %d files left out are listed %s", len(self.skipped), where)
        for sentence, count in self._notes.items():
            first = self._first[sentence]
            _log.warning("%s%s", sentence, f": {count} files, first {first}" if first else "")

    def manifest(self, names: Sequence[str]) -> dict[str, Any]:
        """The record of the scan for data.json."""
        notes = [{"note": s, "count": n, "first": self._first[s]} for s, n in sorted(self._notes.items())]
        return {
            **(self._reader.origin if isinstance(self._reader, MeasuringReader) else {}),
            "names": list(names),
            "skipped": [fault._asdict() for fault in self.skipped],
            "left_out": {name: list(fault) for name, fault in self._left_out.items()},
            "notes": notes,
        }


def listing(faults: Sequence[Fault]) -> str:
    """`grouped(faults)`, and where that leaves some out the path of a new file that lists all.

    The file lies in the system's folder for temporary files: a run directory is taken away where no run begins.
    """
    if not _is_cut(faults):
        return grouped(faults)
    try:
        handle, path = tempfile.mkstemp(prefix="unpool-faults-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(f"{fault.path}: {fault.reason}\n" for fault in faults)
    except OSError as error:
        return f"{grouped(faults)}\n  (no list of all {len(faults)} could be written: {error.strerror or error})"
    return f"{grouped(faults)}\n  all {len(faults)} are listed in {path}"


def most_skipped(total: int) -> int:
    """How many files of a set may be left out, or replaced."""
    return max(SKIP_LEAST, int(total * SKIP_SHARE))


def grouped(faults: Sequence[Fault]) -> str:
    """Faults by cause, the most frequent first: three examples of each and how many more there are.

    Reasons have one cause where they differ in numbers and names only.

    >>> print(grouped([Fault(f"{i}.png", f"mask has {i} colours") for i in range(5)]))
      0.png: mask has 0 colours
      1.png: mask has 1 colours
      2.png: mask has 2 colours
        and 2 more of this cause
    """
    causes = _by_cause(faults)
    lines = []
    for alike in causes[:_CAUSES]:
        lines += [f"  {fault.path}: {fault.reason}" for fault in alike[:_EXAMPLES]]
        if len(alike) > _EXAMPLES:
            lines.append(f"    and {len(alike) - _EXAMPLES} more of this cause")
    if len(causes) > _CAUSES:
        lines.append(f"  and {len(causes) - _CAUSES} more causes")
    return "\n".join(lines)


def _by_cause(faults: Sequence[Fault]) -> list[list[Fault]]:
    causes: dict[str, list[Fault]] = {}
    for fault in faults:
        causes.setdefault(_cause(fault), []).append(fault)
    return sorted(causes.values(), key=len, reverse=True)


def _is_cut(faults: Sequence[Fault]) -> bool:
    """Whether `grouped` leaves some out."""
    causes = _by_cause(faults)
    return len(causes) > _CAUSES or any(len(alike) > _EXAMPLES for alike in causes)


def _cause(fault: Fault) -> str:
    """The reason without what differs from file to file: names of files, quoted names, numbers and lists of them."""
    reason = fault.reason.replace(fault.path, "FILE")
    reason = re.sub(r"'[^']*'|\"[^\"]*\"", "NAME", reason)
    reason = re.sub(r"\S*/\S*|\S+\.[A-Za-z]\w{1,4}\b", "FILE", reason)
    reason = re.sub(r"\d[\d,.]*", "#", reason)
    return re.sub(r"#(\W*#)*", "#", reason)
