"""Plants drawn mistakes, which nobody chose, and prints those that the tests let live.

For each, the tests of the mirrored file and folder run first, then the whole fast suite.
"""

import argparse
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.mutants.mutators import Edit, edits
from benchmarks.mutants.pool import Job, Outcome, preload, run_all, run_tests
from benchmarks.mutants.tree import copy_tree
from benchmarks.record import ROOT, Row, write_result

SEED = 20261121
NOT_DRAWN_FROM = ("cli", "recipes")


@dataclass(frozen=True)
class Drawn:
    """One drawn mistake."""

    file: str
    edit: Edit

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:60] for text in (self.edit.before, self.edit.text))
        return f"{self.file}:{self.edit.line}  {self.edit.operator}: {before}  ->  {after}"


def draw(root: Path, *, count: int, seed: int) -> list[Drawn]:
    """`count` mistakes: each operator equally often as far as it goes, drawn among all its places in the source."""
    by_operator: dict[str, list[Drawn]] = {}
    for path in sorted((root / "src" / "unpool").rglob("*.py")):
        file = path.relative_to(root).as_posix()
        if file.split("/")[2] in NOT_DRAWN_FROM:
            continue
        for edit in edits(path.read_text(encoding="utf-8")):
            by_operator.setdefault(edit.operator, []).append(Drawn(file, edit))
    generator = random.Random(seed)
    for operator in sorted(by_operator):
        generator.shuffle(by_operator[operator])
    drawn: list[Drawn] = []
    while len(drawn) < count and any(by_operator.values()):
        for operator in sorted(by_operator):
            if by_operator[operator] and len(drawn) < count:
                drawn.append(by_operator[operator].pop())
    return drawn


def stages(root: Path, file: str) -> list[tuple[str, ...]]:
    """Tests to run on a mistake in `file`, nearest first: its own file's, its folder's, all."""
    inner = Path(file).relative_to("src/unpool")
    own = [root / "tests" / inner.parent / f"test_{inner.stem}.py", root / "tests" / inner.parent]
    near = [path.relative_to(root).as_posix() for path in own if path.exists() and path != root / "tests"]
    return [*((path,) for path in near), ("tests",)]


def survivors(drawn: Sequence[Drawn], trees: Sequence[Path], *, time_limit_s: float) -> Iterator[tuple[Drawn, Outcome]]:
    """The mistakes that no test noticed; each round runs the next stage on those that are left."""
    left = list(drawn)
    for round_number in range(3):
        jobs, owners = [], []
        for one in left:
            plan = stages(trees[0], one.file)
            text = one.edit.apply((trees[0] / one.file).read_text(encoding="utf-8"))
            # a file without a nearer test goes straight to the whole suite, in the last round
            if round_number < 2 and round_number >= len(plan) - 1:
                continue
            tests = plan[-1] if round_number == 2 else plan[round_number]
            ignored = ("--ignore=tests/benchmarks",)
            jobs.append(Job((*tests, *ignored), time_limit_s, marks=None, plant=(one.file, text)))
            owners.append(one)
        for number, outcome in run_all(jobs, trees):
            if outcome.is_green or (outcome.ended, outcome.code) == ("exit", 5):
                if round_number == 2:
                    yield owners[number], outcome
                continue
            left.remove(owners[number])
            print(f"killed   {outcome.wall_s:5.1f} s  {owners[number]}  {_killer(outcome)}", flush=True)


def _killer(outcome: Outcome) -> str:
    if outcome.failed:
        return outcome.failed[0].split("::", 1)[-1]
    return outcome.ended if outcome.ended != "exit" else "could not be imported"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    drawn = draw(options.root, count=options.count, seed=options.seed)
    preload()
    with tempfile.TemporaryDirectory(prefix="unpool-drawn-") as folder:
        trees = [copy_tree(Path(folder) / f"tree{slot}", options.root) for slot in range(options.jobs)]
        whole = run_tests(trees[0], Job(("tests", "--ignore=tests/benchmarks"), options.time_limit, marks=None))
        if not whole.is_green:
            print(f"the tests are not green as they are: {_killer(whole)}\n{whole.output[-2000:]}", file=sys.stderr)
            return 1
        print(f"{len(drawn)} mistakes drawn with seed {options.seed}; the tests take {whole.wall_s:.0f} s without them")
        alive = []
        for one, outcome in survivors(drawn, trees, time_limit_s=max(60.0, 4 * whole.wall_s)):
            alive.append(one)
            print(f"survived {outcome.wall_s:5.1f} s  {one}", flush=True)
    wall_s = time.monotonic() - started
    print(f"{len(drawn) - len(alive)} of {len(drawn)} killed; {wall_s:.0f} s")
    if options.json:
        rows = [Row(what="drawn mistakes caught by the tests", figure=f"{len(drawn) - len(alive)} of {len(drawn)}")]
        details = {"drawn": [asdict(one) for one in drawn], "survived": [str(one) for one in alive]}
        command = shlex.join(["python", "-m", "benchmarks.mutants.drawn", "--json", str(options.json)])
        write_result(options.json, rows, command=command, seed=options.seed, wall_s=wall_s, details=details)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.mutants.drawn", description=__doc__)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=2, help="copies tested beside one another (default 2)")
    parser.add_argument("--time-limit", type=float, default=900.0, metavar="S", help="for the whole suite, unmutated")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to copy")
    parser.add_argument("--json", type=Path, help="also write what was drawn and what survived here")
    return parser


if __name__ == "__main__":
    sys.exit(main())
