"""Plants each listed mistake in a copy of the tree and runs the test that must turn red.

Exit 0 where every mistake was caught, every named test is green without it, and every file that computes has one.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutants.listed import Mutant, computing_files, read_mutants, without_mutant
from benchmarks.mutants.pool import Job, Outcome, preload, run_all, run_tests
from benchmarks.mutants.tree import copy_tree
from benchmarks.record import ROOT, Row, write_result

RESULTS = ("killed", "survived", "error")


@dataclass(frozen=True)
class Verdict:
    """The result of one mutant, one of RESULTS; `note` says how or why."""

    mutant: Mutant
    result: str
    note: str
    wall_s: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        mutants = [m for m in read_mutants(options.mutants) if options.only in f"{m.area} {m.file} {m.test}"]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    preload()
    with tempfile.TemporaryDirectory(prefix="unpool-mutants-") as folder:
        trees = [copy_tree(Path(folder) / f"tree{slot}", options.root) for slot in range(options.jobs)]
        verdicts = judge(mutants, trees, time_limit_s=options.time_limit, show=_show)
    uncovered = [] if options.only else without_mutant(computing_files(options.root), mutants)
    for file in uncovered:
        print(f"{file}: computes, but no mistake is listed for it")
    _summary(verdicts, wall_s=time.monotonic() - started)
    if options.json:
        _write(options.json, verdicts, uncovered=uncovered, wall_s=time.monotonic() - started)
    return int(bool(uncovered) or any(verdict.result != "killed" for verdict in verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.mutants.run", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the counts and the survivors here")
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants whose area, file or test has this text")
    parser.add_argument("--jobs", type=int, default=2, help="copies tested beside one another (default 2)")
    parser.add_argument("--time-limit", type=float, default=120.0, metavar="S", help="for each test run (default 120)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to copy")
    parser.add_argument("--mutants", type=Path, default=Path(__file__).parent, help="folder of YAML lists")
    return parser


def judge(
    mutants: Sequence[Mutant], trees: Sequence[Path], *, time_limit_s: float, show: Callable[[Verdict], None]
) -> list[Verdict]:
    """A verdict on each mutant, in the order of `mutants`; `show` is called with each at once."""
    green = green_tests(sorted({mutant.test for mutant in mutants}), trees[0], time_limit_s=time_limit_s)
    verdicts: dict[int, Verdict] = {}
    positions: list[int] = []
    jobs: list[Job] = []
    for position, mutant in enumerate(mutants):
        try:
            text = _mutated(mutant, trees[0], green)
        except ValueError as error:
            verdicts[position] = Verdict(mutant, "error", str(error), 0.0)
            show(verdicts[position])
            continue
        positions.append(position)
        jobs.append(Job((mutant.test,), time_limit_s, plant={mutant.file: text}))
    for number, outcome in run_all(jobs, trees):
        position = positions[number]
        verdicts[position] = verdict_of(mutants[position], outcome)
        show(verdicts[position])
    return [verdicts[position] for position in sorted(verdicts)]


def green_tests(tests: Sequence[str], tree: Path, *, time_limit_s: float) -> dict[str, str]:
    """By test, why it cannot be used; empty for one that passes on the unchanged tree.

    The tests of one file share a run; where that run fails as a whole (a test that does not exist), each is run alone.
    """
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.split("::")[0], []).append(test)
    reasons: dict[str, str] = {}
    for names in files.values():
        limit_s = time_limit_s * len(names)
        outcome = run_tests(tree, Job(tuple(names), limit_s, stop_at_first=False))
        if outcome.passed or outcome.failed or len(names) == 1:
            reasons |= {name: _why_not_green(name, outcome, tree) for name in names}
            continue
        for name in names:
            reasons[name] = _why_not_green(name, run_tests(tree, Job((name,), time_limit_s)), tree)
    return reasons


def _why_not_green(name: str, outcome: Outcome, tree: Path) -> str:
    def has(nodes: Sequence[str]) -> bool:
        return any(node == name or node.startswith((f"{name}[", f"{name}::")) for node in nodes)

    if outcome.ended != "exit":
        return f"{name} ended by {outcome.ended} on the tree as it is"
    if has(outcome.failed):
        return f"{name} is red on the tree as it is"
    if not has(outcome.passed):
        return f"{name} was skipped" if has(outcome.skipped) else f"{name} does not exist, or cannot be imported"
    if outcome.imported_from and not Path(outcome.imported_from).is_relative_to(tree):
        return f"{name} imported unpool from {outcome.imported_from}, not from the copy"
    return ""


def _mutated(mutant: Mutant, tree: Path, green: dict[str, str]) -> str:
    path = tree / mutant.file
    if not path.is_file():
        raise ValueError(f"{mutant.file} does not exist")
    if green[mutant.test]:
        raise ValueError(green[mutant.test])
    return mutant.apply(path.read_text(encoding="utf-8"))


def verdict_of(mutant: Mutant, outcome: Outcome) -> Verdict:
    """A test that was green before and is not now has caught the mistake, by whatever way it ended."""
    if outcome.is_green:
        return Verdict(mutant, "survived", mutant.why, outcome.wall_s)
    if outcome.ended == "exit" and outcome.code == 0:
        return Verdict(mutant, "survived", f"the test was skipped; {mutant.why}", outcome.wall_s)
    how = "" if outcome.failed else outcome.ended if outcome.ended != "exit" else "could not be imported"
    return Verdict(mutant, "killed", how, outcome.wall_s)


def _show(verdict: Verdict) -> None:
    mutant = verdict.mutant
    edit = f"{mutant.old.strip()}  ->  {mutant.new.strip()}".replace("\n", " ")
    print(f"{verdict.result:8} {verdict.wall_s:5.1f} s  {mutant.file}  {edit[:90]}  {verdict.note}", flush=True)


def counts_of(verdicts: Sequence[Verdict]) -> dict[str, dict[str, int]]:
    """Of each area, the number of mutants by result."""
    counts: dict[str, dict[str, int]] = {}
    for verdict in verdicts:
        counts.setdefault(verdict.mutant.area, dict.fromkeys(RESULTS, 0))[verdict.result] += 1
    return counts


def _summary(verdicts: Sequence[Verdict], *, wall_s: float) -> None:
    numbers = {result: sum(v.result == result for v in verdicts) for result in RESULTS}
    print(
        f"{len(verdicts)} mistakes: "
        + ", ".join(f"{n} {result}" for result, n in numbers.items())
        + f"; {wall_s:.0f} s"
    )


def _write(path: Path, verdicts: Sequence[Verdict], *, uncovered: Sequence[str], wall_s: float) -> None:
    killed = sum(verdict.result == "killed" for verdict in verdicts)
    rows = [
        Row(what="planted mistakes caught by their test", figure=f"{killed} of {len(verdicts)}", reference="all"),
        Row(what="files that compute without a planted mistake", figure=str(len(uncovered)), reference="0"),
    ]
    survivors = [asdict(verdict) for verdict in verdicts if verdict.result != "killed"]
    details = {"counts": counts_of(verdicts), "survivors": survivors, "uncovered": list(uncovered)}
    command = shlex.join(["python", "-m", "benchmarks.mutants.run", "--json", str(path)])
    write_result(path, rows, command=command, seed=None, wall_s=wall_s, details=details)


if __name__ == "__main__":
    sys.exit(main())
