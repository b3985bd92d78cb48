"""Whether tests notice mistakes: each against the tests nearest to it, or all at once against the whole suite."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.mutants.drawing import Drawn, groups, planted
from benchmarks.mutants.pool import Job, Outcome, run_all, run_tests

WHOLE = ("tests", "src", "--ignore=tests/benchmarks")


def nearest(root: Path, file: str) -> tuple[str, ...]:
    """Tests of the file, then those of its folder; of a package that has no such folder, its files of tests."""
    inner = Path(file).relative_to("src/unpool")
    mirrored = root / "tests" / inner.parent / f"test_{inner.stem}.py"
    folder = next(path for path in (root / "tests" / inner).parents if path.is_dir())
    pattern = f"test_{inner.parts[0].removesuffix('.py')}*.py" if folder == root / "tests" else "**/test_*.py"
    # one by one: of a folder and a file of it, pytest takes the folder alone, in the order of names
    near = [mirrored, *(path for path in sorted(folder.glob(pattern)) if path != mirrored)]
    return tuple(path.relative_to(root).as_posix() for path in near if path.exists())


class Bench:
    """Runs tests with mistakes in copies of the tree.

    Args:
        trees: copies to plant in, one run at a time in each.
        plain: a copy for single runs, without a mistake or once more with it, while the others are in use.
        time_limit_s: of each run.
    """

    def __init__(self, trees: Sequence[Path], plain: Path, *, time_limit_s: float) -> None:
        self.trees, self.plain, self.time_limit_s = trees, plain, time_limit_s
        self.green: dict[tuple[str, ...], bool] = {}

    def each(self, pairs: Sequence[tuple[Drawn, tuple[str, ...]]]) -> Iterator[tuple[Drawn, str]]:
        """Each mistake alone, and the first of its tests that notices it; empty where none does.

        A test counts where it is red again with the mistake, and green without it.
        """
        red = []
        for number, outcome in run_all([self._job([one], tests) for one, tests in pairs], self.trees):
            one, tests = pairs[number]
            if outcome.is_green or (outcome.ended, outcome.code) in (("exit", 0), ("exit", 5)):
                yield one, ""
            elif self._is_noticed(one, tuple(outcome.failed[:1]) or tests):
                yield one, how(outcome)
            else:
                red.append((one, (*tests, f"--deselect={self._red_test(outcome, tests)}")))
        if red:
            yield from self.each(red)

    def together(self, drawn: Sequence[Drawn]) -> Iterator[tuple[Drawn, str]]:
        """As `each` with the whole suite, which runs once with all of them: only what fails then runs on each alone."""
        for group in groups(drawn):
            yield from self._halved(group)

    def _halved(self, group: Sequence[Drawn]) -> Iterator[tuple[Drawn, str]]:
        workers = ("-n", str(len(self.trees)), "--dist", "worksteal") if len(self.trees) > 1 else ()
        tests = (*workers, *WHOLE, "--continue-on-collection-errors")
        outcome = run_tests(self.trees[0], self._job(group, tests, stop_at_first=False))
        if _is_whole(outcome):
            yield from self._attributed(group, sorted({*outcome.failed, *outcome.broken}))
        elif len(group) == 1:
            if not _is_whole(run_tests(self.plain, self._job([], tests, stop_at_first=False))):
                raise RuntimeError(f"the whole suite ends by {how(outcome)} without a mistake too; see --time-limit")
            yield group[0], how(outcome)
        else:  # one of them ends the run before its end
            yield from self._halved(group[: len(group) // 2])
            yield from self._halved(group[len(group) // 2 :])

    def _attributed(self, group: Sequence[Drawn], tests: Sequence[str]) -> Iterator[tuple[Drawn, str]]:
        outcome = run_tests(self.plain, self._job([], tests, stop_at_first=False)) if tests else Outcome("exit")
        left = tuple(test for test in tests if test not in {*outcome.failed, *outcome.broken})
        print(f"{len(tests)} tests fail with all {len(group)} planted, {len(left)} of them pass without", flush=True)
        yield from self.each([(one, left) for one in group]) if left else ((one, "") for one in group)

    def _job(self, group: Sequence[Drawn], tests: Sequence[str], *, stop_at_first: bool = True) -> Job:
        plant = planted(self.plain, group)
        return Job(tuple(tests), self.time_limit_s, stop_at_first=stop_at_first, marks=None, plant=plant)

    def _is_noticed(self, one: Drawn, tests: tuple[str, ...]) -> bool:
        if tests not in self.green:
            self.green[tests] = run_tests(self.plain, self._job([], tests)).is_green
        return self.green[tests] and not run_tests(self.plain, self._job([one], tests)).is_green

    def _red_test(self, outcome: Outcome, tests: Sequence[str]) -> str:
        if not outcome.failed:
            raise RuntimeError(f"{' '.join(tests)}: {how(outcome)} without a mistake too; see --time-limit")
        print(f"not counted, red without a mistake or green with it: {outcome.failed[0]}", flush=True)
        return outcome.failed[0]


def _is_whole(outcome: Outcome) -> bool:
    return outcome.ended == "exit" and outcome.code in (0, 1)


def how(outcome: Outcome) -> str:
    """The first test that failed, or how the run ended."""
    if outcome.failed:
        return outcome.failed[0]
    return outcome.ended if outcome.ended != "exit" else "could not be imported"
