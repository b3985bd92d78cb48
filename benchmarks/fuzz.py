"""Fuzzes Unpool with random faults: recipes, files of finished runs, pictures, and stops of trainers.

Each case is a function of (seed, kind, number). A kind that was interrupted goes on where it was, as long as seed and
commit are the same; `--case` repeats a single one and prints what happened.
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


def fuzz(kind: str, count: int, *, seed: int, work: Path, anew: bool) -> dict[str, Any]:
    """Tries the cases of a kind that are still to be tried, keeps the state in `work`, and returns it."""
    path, empty = work / f"{kind}.json", {"seed": seed, "commit": commit(), "tried": 0, "wall_s": 0.0}
    state = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not anew else {}
    if {key: state.get(key) for key in ("seed", "commit")} != {key: empty[key] for key in ("seed", "commit")}:
        state = {**empty, "counts": {}, "faults": []}
    done_s, started = state["wall_s"], time.monotonic()
    for number, verdict in tried(kind, range(state["tried"], count), seed=seed, work=work / kind):
        of_change = state["counts"].setdefault(verdict.where.split(",")[0], {})
        of_change[verdict.outcome] = of_change.get(verdict.outcome, 0) + 1
        if verdict.outcome not in GOOD:
            state["faults"].append([number, verdict.outcome, verdict.where, verdict.detail])
            print(f"{kind} {number}: {verdict.outcome}, {verdict.where}\n{verdict.detail}\n", flush=True)
        state |= {"tried": number + 1, "wall_s": round(done_s + time.monotonic() - started, 1)}
        if number % SAVE_EVERY == 0 or number == count - 1:
            path.write_text(json.dumps(state), encoding="utf-8")
            print(f"{kind} {number + 1} of {count}: {_words(_outcomes(state))}", flush=True)
    return state


def _outcomes(state: Mapping[str, Any]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for of_change in state["counts"].values():
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
        state = fuzz(kind, count, seed=options.seed, work=options.work, anew=options.anew)
        states = _kept(options.json) | {kind: {**state, "faults": state["faults"][:MOST_FAULTS]}}
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
    parser.add_argument("--anew", action="store_true", help="forget what was tried before")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "unpool-fuzz", help="folder, kept")
    parser.add_argument("--json", type=Path, default=RESULTS / "fuzz.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
