"""Plants drawn mistakes, which nobody chose, and prints those that the tests let live.

Each is planted alone for the tests nearest to its file. All that live are then planted at once for the whole fast
suite, and what fails there runs on each alone. With --json a stopped run goes on where it was.
"""

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.mutants.drawing import Drawn, draw, read_equivalent, reason, restored
from benchmarks.mutants.listed import EQUIVALENT
from benchmarks.mutants.notice import Bench, nearest
from benchmarks.mutants.pool import preload
from benchmarks.mutants.tree import copy_tree
from benchmarks.record import ROOT, Row, write_result

SEED = 20261130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    equivalent = read_equivalent(options.equivalent)
    drawn, before_s = _start(options)
    started = time.monotonic()

    def save() -> None:
        if options.json:
            _write(options, drawn, equivalent, wall_s=before_s + time.monotonic() - started)

    if options.again:
        for one in (one for one in drawn if one.result in ("nearby", "survived")):
            one.result, one.is_again = "open", True
    preload()
    with tempfile.TemporaryDirectory(prefix="unpool-drawn-") as folder:
        trees = [copy_tree(Path(folder) / f"tree{slot}", options.root) for slot in range(options.jobs)]
        bench = Bench(trees, copy_tree(Path(folder) / "plain", options.root), time_limit_s=options.time_limit)
        _judge(bench, [one for one in drawn if not reason(one, equivalent)], save, is_whole=not options.near_only)
    save()
    _summary(drawn, equivalent)
    return 0


def _start(options: argparse.Namespace) -> tuple[list[Drawn], float]:
    """The mistakes of a run that was stopped, and the seconds it took, or new ones."""
    if not (options.json and options.json.is_file()):
        return draw(options.root, count=options.count, seed=options.seed), 0.0
    result = json.loads(options.json.read_text(encoding="utf-8"))
    if (result["seed"], len(result["details"]["drawn"])) != (options.seed, options.count):
        raise SystemExit(f"{options.json} holds another drawing: give its --seed and --count, or another --json")
    return restored(options.root, result["details"]["drawn"]), result["wall_s"]


def _judge(bench: Bench, drawn: Sequence[Drawn], save: Callable[[], None], *, is_whole: bool) -> None:
    near = {one.file: nearest(bench.plain, one.file) for one in drawn}
    pairs = [(one, near[one.file]) for one in drawn if one.result == "open"]
    for one in (one for one, tests in pairs if not tests):
        one.result = "nearby"
    _note(bench.each([(one, tests) for one, tests in pairs if tests]), save, otherwise="nearby")
    if is_whole:
        _note(bench.together([one for one in drawn if one.result == "nearby"]), save, otherwise="survived")


def _note(verdicts, save: Callable[[], None], *, otherwise: str) -> None:
    for one, by in verdicts:
        one.result, one.by = ("killed", by) if by else (otherwise, "")
        print(f"{one.result:8}  {one}  {by.rpartition('::')[2]}", flush=True)
        save()


def _counts(drawn: Sequence[Drawn], equivalent: Sequence[dict[str, str]]) -> tuple[list[Drawn], list[Drawn], str]:
    """Those that live, those that change nothing, and how many of how many were killed, by the tests at first too."""
    present = [one for one in drawn if one.result != "gone"]
    same = [one for one in present if one.result != "killed" and reason(one, equivalent)]
    alive = [one for one in present if one.result != "killed" and one not in same]
    counted = len(present) - len(same)
    at_first = sum(one.result == "killed" and not one.is_again for one in present)
    figure = f"{counted - len(alive)} of {counted}"
    return alive, same, figure + (f" (when drawn {at_first})" if any(one.is_again for one in present) else "")


def _summary(drawn: Sequence[Drawn], equivalent: Sequence[dict[str, str]]) -> None:
    alive, same, figure = _counts(drawn, equivalent)
    for one in same:
        print(f"equivalent  {one}: {reason(one, equivalent)}")
    for one in alive:
        print(f"alive ({one.result})  {one}")
    print(f"{figure} killed; {len(same)} equivalent and {sum(one.result == 'gone' for one in drawn)} gone")


def _write(options: argparse.Namespace, drawn: Sequence[Drawn], equivalent: Sequence[dict[str, str]], *, wall_s: float):
    alive, same, figure = _counts(drawn, equivalent)
    operators, gone = {one.edit.operator for one in drawn}, sum(one.result == "gone" for one in drawn)
    rows = [
        Row(what=f"drawn mistakes of {len(operators)} kinds, equally many, caught", figure=figure, reference="90 %"),
        Row(what="not counted: changes nothing; line changed since", figure=f"{len(same)}; {gone}"),
    ]
    details = {
        "alive": [str(one) for one in alive],
        "equivalent": {str(one): reason(one, equivalent) for one in same},
        "drawn": [asdict(one) for one in drawn],
    }
    arguments = ["--count", str(options.count), "--json", str(options.json), *["--again"][: options.again]]
    command = shlex.join(["python", "-m", "benchmarks.mutants.drawn", *arguments])
    write_result(options.json, rows, command=command, seed=options.seed, wall_s=wall_s, details=details)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.mutants.drawn", description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=2, help="copies tested beside one another (default 2)")
    parser.add_argument("--time-limit", type=float, default=1800.0, metavar="S", help="for each run of tests")
    parser.add_argument("--near-only", action="store_true", help="leave the whole suite for another time")
    parser.add_argument("--again", action="store_true", help="take up again what lived, since tests were written")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree to copy")
    parser.add_argument(
        "--equivalent", type=Path, default=Path(__file__).parent / EQUIVALENT, help="what is not counted"
    )
    parser.add_argument("--json", type=Path, help="what was drawn and what became of it; an existing one goes on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
