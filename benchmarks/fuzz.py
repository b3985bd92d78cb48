"""Fuzzes Unpool with random faults: recipes, files of finished runs, pictures, and stops of trainers.

Each case is a function of (seed, kind, number). Verdicts are kept in `--work`: an interrupted kind goes on where
it was, `--again` repeats those that were faults, `--case` repeats a single one. The results say at which commit each
case was tried; another `--work` begins anew.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fuzzing.child import verdicts
from benchmarks.fuzzing.verdict import FAULTS, GOOD, Verdict
from benchmarks.record import RESULTS, Row, commit, write_result

KINDS = {"recipes": 2000, "flips": 1000, "pictures": 500, "stops": 200}
ABOUT = {
    "recipes": "mutated recipes: refused in one sentence, accepted, of these trained for a few steps",
    "flips": "files of finished runs with flipped bits, cuts or zeroed blocks: same answers, refused by name",
    "pictures": "damaged pictures and masks, held and streamed: read the same, skipped or refused by name",
    "stops": "stops by SIGHUP, SIGINT, SIGTERM, SIGKILL and closed pipes: resumed, compared with a run in peace",
}

SAVE_EVERY = 10
MOST_FAULTS = 50  # described in the results


def tried(kind: str, numbers: Sequence[int], *, seed: int, work: Path) -> Iterator[tuple[int, Verdict]]:
    """(number, verdict) of each case."""
    work.mkdir(parents=True, exist_ok=True)
    if kind != "stops":
        yield from verdicts(kind, seed, numbers, work)
        return
    from benchmarks.fuzzing.stops import cases

    stops = cases(work, seed)
    for number in numbers:
        yield number, stops.case(number)


def fuzz(kind: str, count: int, *, seed: int, work: Path, again: bool) -> dict[str, Any]:
    """Tries the cases of a kind that are still to be tried, keeps the verdicts in `work`, and sums them up."""
    path, now = work / f"{kind}-{seed}.json", commit()
    state = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"verdicts": {}, "wall_s": 0.0}
    known, done_s, started = state["verdicts"], state["wall_s"], time.monotonic()
    rest = [n for n in range(count) if str(n) not in known or (again and known[str(n)][0] not in GOOD)]
    for position, (number, verdict) in enumerate(tried(kind, rest, seed=seed, work=work / kind), start=1):
        is_good = verdict.outcome in GOOD
        known[str(number)] = [verdict.outcome, verdict.where, now, "" if is_good else verdict.detail]
        if not is_good:
            print(f"{kind} {number}: {verdict.outcome}, {verdict.where}\n{verdict.detail}\n", flush=True)
        state["wall_s"] = round(done_s + time.monotonic() - started, 1)
        if position % SAVE_EVERY == 0 or position == len(rest):
            path.write_text(json.dumps(state), encoding="utf-8")
            print(f"{kind}, {len(rest) - position} left: {_words(_outcomes(_summary(state, seed)))}", flush=True)
    return _summary(state, seed)


def _summary(state: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Counts by what was changed and outcome, by commit, and the faults."""
    verdicts = state["verdicts"]
    counts: dict[str, Counter[str]] = {}
    for outcome, where, *_ in verdicts.values():
        counts.setdefault(where.split(",")[0], Counter())[outcome] += 1
    faults = [[int(number), *verdict] for number, verdict in verdicts.items() if verdict[0] not in GOOD]
    commits = Counter(verdict[2] for verdict in verdicts.values())
    facts = {"seed": seed, "tried": len(verdicts), "wall_s": state["wall_s"], "commits": dict(commits)}
    return {**facts, "counts": {change: dict(of) for change, of in counts.items()}, "faults": faults[:MOST_FAULTS]}


def _outcomes(summary: Mapping[str, Any]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for of_change in summary["counts"].values():
        outcomes.update(of_change)
    return outcomes


def _words(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))


def rows_of(states: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """One row a kind, and one of all faults."""
    rows, faults = [], Counter()
    for kind in [kind for kind in KINDS if kind in states]:
        outcomes = _outcomes(states[kind])
        good = {name: number for name, number in outcomes.items() if name in GOOD}
        faults.update({name: number for name, number in outcomes.items() if name not in GOOD})
        rows.append(Row(what=ABOUT[kind], figure=f"{states[kind]['tried']}: {_words(good)}"))
    rows.append(
        Row(what="tracebacks, silently other, lost, hanging, any other fault", figure=_five(faults), reference="0")
    )
    return rows


def _five(faults: Counter[str]) -> str:
    named = ("traceback", "silently other", "lost", "hang")
    return ", ".join(str(faults[name]) for name in named) + f", {sum(faults.values()) - sum(faults[n] for n in named)}"


def table_of(states: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Counts by kind, by what was changed, and by outcome; the first line is the head."""
    used = [name for name in (*GOOD, *FAULTS) if any(_outcomes(state)[name] for state in states.values())]
    lines = [
        [kind, change, *(str(outcomes.get(name, 0)) for name in used)]
        for kind, state in states.items()
        for change, outcomes in sorted(state["counts"].items())
    ]
    return [["kind", "changed", *used], *lines]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    kinds = options.only or list(KINDS)
    if options.case is not None:
        for kind in kinds:
            for number, verdict in tried(kind, [options.case], seed=options.seed, work=options.work / kind):
                print(f"{kind} {number}: {verdict.outcome}, {verdict.where}\n{verdict.detail}")
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        count = options.count or KINDS[kind]
        summary = fuzz(kind, count, seed=options.seed, work=options.work, again=options.again)
        states = _kept(options.json) | {kind: summary}
        _write(options.json, {kind: states[kind] for kind in KINDS if kind in states}, seed=options.seed)
    rows = rows_of(states)
    print("\n".join(f"{row.what}: {row.figure}" for row in rows))
    return int(any(not set(_outcomes(states[kind])) <= set(GOOD) for kind in kinds))


def _kept(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))["details"] if path.is_file() else {}


def _write(path: Path, states: Mapping[str, Mapping[str, Any]], *, seed: int) -> None:
    wall_s = sum(state["wall_s"] for state in states.values())
    command = shlex.join(["python", "-m", "benchmarks.fuzz"])
    write_result(
        path, rows_of(states), command=command, seed=seed, wall_s=wall_s, details=states, table=table_of(states)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="kinds; by default all")
    parser.add_argument("--count", type=int, help=f"cases of each kind; by default {KINDS}")
    parser.add_argument("--case", type=int, help="number of a single case to repeat")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="try the faults again, beside what was never tried")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "unpool-fuzz", help="folder, kept")
    parser.add_argument("--json", type=Path, default=RESULTS / "fuzz.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
