"""Runs `unpool check` on healthy runs and on planted mistakes, and writes how many it catches.

Each case is a process of its own, on one half of the cases: `tuning`, on which the checks were made, or `held`, which
was written by somebody else and kept apart. A mistake is caught where the cause that is named first is the one that was
planted; one that fails for another cause stands apart. A healthy run that fails is a false alarm. A call goes on where
the one before was stopped: what was measured is kept in the folder of `--runs`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.halves import HALVES, cases_of
from benchmarks.record import RESULTS, ROOT, Row, write_result

LIMIT_S = 600.0


class Ended(NamedTuple):
    """A case, what check said of it, and what that is worth: see `verdict`."""

    case: Case
    result: dict[str, Any]
    verdict: str


def measured(case: Case, half: str, *, data: Path | None, runs: Path, minutes: float) -> dict[str, Any]:
    """What check says of a case, from the file of an earlier call where there is one."""
    path = runs / f"{half}-{case.name}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    words = [sys.executable, "-m", "benchmarks.mistakes.one", half, case.name, "--minutes", str(minutes)]
    words += ["--data", str(data)] if data is not None else []
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else _failed(done.stderr)
    except subprocess.TimeoutExpired:
        result = _failed(f"no answer within {LIMIT_S:.0f} s")
    runs.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result), encoding="utf-8")
    return result


def _failed(text: str) -> dict[str, Any]:
    last = (text.strip().splitlines() or ["no word"])[-1]
    return {"cause": "", "causes": [], "warnings": [], "about": [], "unmeasured": [], "seconds": 0.0, "failure": last}


def verdict(case: Case, result: dict[str, Any]) -> str:
    """How a case ended.

    Returns:
        Of a mistake: "caught", its cause is named first, by a failure; "warned", by a warning where nothing fails;
        "other cause"; "missed". Of a healthy run: "right", or "false alarm" where something fails. "crashed" of both.
    """
    return judged(result, case.cause, case.also)


def judged(result: Mapping[str, Any], cause: str | None, also: Sequence[str] = ()) -> str:
    """See `verdict`, of a run that `cause` was planted in, or None."""
    if result.get("failure"):
        return "crashed"
    if cause is None:
        return "false alarm" if result["causes"] else "right"
    named = [*result["causes"], *result["warnings"]]
    if not named:
        return "missed"
    if named[0] not in (cause, *also):
        return "other cause"
    return "caught" if result["causes"] else "warned"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mistakes", description=__doc__)
    parser.add_argument("half", choices=HALVES)
    parser.add_argument("--data", type=Path, help="folder of the public sets; cases that need one are left out without")
    parser.add_argument("--runs", type=Path, required=True, help="where what was measured is kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases whose name has one of these texts")
    parser.add_argument("--minutes", type=float, default=2.0)
    values = parser.parse_args(arguments)
    start = time.monotonic()
    rows = [_ended(case, values) for case in _chosen(cases_of(values.half), values)]
    for line in summary(rows):
        print(f"{line.what}: {line.figure}")
    if values.only or values.data is None:
        return  # a part of the cases is no result
    write_result(
        RESULTS / f"mistakes_{values.half}.json",
        summary(rows),
        command=f"python -m benchmarks.mistakes {values.half} --data DIR --runs DIR",
        seed=0,
        wall_s=time.monotonic() - start,
        table=table(rows),
    )


def _chosen(cases: Sequence[Case], values: argparse.Namespace) -> list[Case]:
    named = [case for case in cases if not values.only or any(text in case.name for text in values.only)]
    return [case for case in named if values.data is not None or not case.needs]


def _ended(case: Case, values: argparse.Namespace) -> Ended:
    result = measured(case, values.half, data=values.data, runs=values.runs, minutes=values.minutes)
    word = verdict(case, result)
    named = f"{case.cause or '-':26}{result['cause'] or '-':26}"
    print(f"{word:12}{case.name:48}{named}{result['seconds']:6.1f} s", flush=True)
    return Ended(case, result, word)


def summary(rows: Sequence[Ended]) -> list[Row]:
    """The lines of RESULTS.md."""
    mistakes = [row for row in rows if row.case.cause is not None]
    healthy = [row for row in rows if row.case.cause is None]
    counts = Counter(row.verdict for row in mistakes)
    alarms = sum(row.verdict == "false alarm" for row in healthy)
    warnings = sum(len(row.result["warnings"]) for row in healthy)
    seconds = [row.result["seconds"] for row in rows]
    first = counts["caught"] + counts["warned"]
    caught = f"{first} of {len(mistakes)} ({100 * first / max(len(mistakes), 1):.0f} %)"
    lost = f"{counts['missed']}, {counts['crashed']}"
    of_healthy = f"{alarms} of {len(healthy)}; {warnings}"
    time_s = f"{statistics.median(seconds):.0f}, {max(seconds):.0f}"
    return [
        Row(what="planted mistakes whose cause is named first", figure=caught, reference="90 % tuning, 80 % held"),
        Row(what="of these, by a warning where nothing fails", figure=str(counts["warned"])),
        Row(what="planted mistakes for which another cause is named first", figure=str(counts["other cause"])),
        Row(what="planted mistakes that are missed, that end the check", figure=lost),
        Row(what="healthy runs that fail; warnings on healthy runs", figure=of_healthy, reference="at most 1; 5"),
        Row(what="seconds of a check, median and largest", figure=time_s, reference="at most 120, 240"),
    ]


def table(rows: Sequence[Ended]) -> list[list[str]]:
    """A line for each case, below its head."""
    lines = [["case", "planted", "named first", "verdict", "s"]]
    for case, result, word in rows:
        lines.append([case.name, case.cause or "healthy", result["cause"] or "-", word, f"{result['seconds']:.0f}"])
    return lines


if __name__ == "__main__":
    main()
