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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.halves import HALVES
from benchmarks.record import RESULTS, ROOT, Row, write_result

LIMIT_S = 600.0


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
    """How a case ended: caught, other cause, warned, missed; right or false alarm of a healthy run; crashed."""
    if result.get("failure"):
        return "crashed"
    if case.cause is None:
        return "false alarm" if result["causes"] else "right"
    if result["cause"] in (case.cause, *case.also):
        return "caught"
    if result["causes"]:
        return "other cause"
    return "warned" if {case.cause, *case.also} & set(result["warnings"]) else "missed"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mistakes", description=__doc__)
    parser.add_argument("half", choices=list(HALVES))
    parser.add_argument("--data", type=Path, help="folder of the public sets; without it, cases that need one are left out")
    parser.add_argument("--runs", type=Path, required=True, help="where what was measured is kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases whose name has one of these")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--json", type=Path, help="by default benchmarks/results/mistakes_HALF.json, of all cases")
    values = parser.parse_args(arguments)
    cases = [
        case
        for case in HALVES[values.half]
        if (not values.only or any(text in case.name for text in values.only))
        and (values.data is not None or not case.needs)
    ]
    rows = []
    for case in cases:
        result = measured(case, values.half, data=values.data, runs=values.runs, minutes=values.minutes)
        word = verdict(case, result)
        rows.append((case, result, word))
        print(f"{word:12}{case.name:44}{case.cause or '-':26}{result['cause'] or '-':26}{result['seconds']:6.1f} s", flush=True)
    _summarise(rows, values)


def _summarise(rows: Sequence[tuple[Case, dict[str, Any], str]], values: argparse.Namespace) -> None:
    mistakes = [row for row in rows if row[0].cause is not None]
    healthy = [row for row in rows if row[0].cause is None]
    counts = {word: sum(one[2] == word for one in mistakes) for word in ("caught", "other cause", "warned", "missed", "crashed")}
    alarms = sum(one[2] == "false alarm" for one in healthy)
    warnings = sum(len(one[1]["warnings"]) for one in healthy)
    seconds = [one[1]["seconds"] for one in rows]
    print(counts, f"healthy {len(healthy)}, false alarms {alarms}, false warnings {warnings}")
    if values.only or values.data is None:
        return
    share = 100 * counts["caught"] / max(len(mistakes), 1)
    found = [
        Row("planted mistakes whose cause is named first", f"{counts['caught']} of {len(mistakes)} ({share:.0f} %)", "-"),
        Row("planted mistakes that fail for another cause", str(counts["other cause"]), "-"),
        Row("planted mistakes that are warned of", str(counts["warned"]), "-"),
        Row("planted mistakes that are missed, or end the check", f"{counts['missed']}, {counts['crashed']}", "-"),
        Row("healthy runs that fail; warnings on healthy runs", f"{alarms} of {len(healthy)}; {warnings}", "at most 1; 5"),
        Row("seconds, median and largest", f"{statistics.median(seconds):.0f}, {max(seconds):.0f}", "120, 240"),
    ]
    table = [["case", "planted", "named first", "verdict", "s"]]
    table += [[c.name, c.cause or "healthy", r["cause"] or "-", word, f"{r['seconds']:.0f}"] for c, r, word in rows]
    path = values.json or RESULTS / f"mistakes_{values.half}.json"
    write_result(path, found, command=f"python -m benchmarks.mistakes {values.half} --data DIR --runs DIR", table=table)


if __name__ == "__main__":
    main()
