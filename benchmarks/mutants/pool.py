"""Runs tests in forked children of a process that has torch imported, so that one run costs its tests and little more.

A fresh interpreter spends seconds on `import torch`; a fork of one that has done so spends none. The parent stays
single-threaded (nothing is computed in it), so that forking is safe.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import _exit  # a test that is interrupted may leave another one in `os`
from pathlib import Path
from types import ModuleType
from typing import Any

PRELOADED = (
    "torch",
    "torchvision.transforms.v2",
    "numpy",
    "PIL.Image",
    "safetensors.torch",
    "pydantic",
    "rich.progress",
)
PRELOADED += ("ruamel.yaml", "pytest", "hypothesis")
POLL_S = 0.01


@dataclass(frozen=True)
class Job:
    """Tests to run on one copy of the tree.

    Attributes:
        tests: arguments of pytest: files, folders or node ids, relative to the copy.
        time_limit_s: the child and all that it started are killed after this time.
        stop_at_first: end at the first failure.
        marks: pytest's `-m` expression; empty runs slow tests too, None leaves the choice to the tree's settings.
        plant: files of the copy and the text each holds while the tests run.
    """

    tests: tuple[str, ...]
    time_limit_s: float
    stop_at_first: bool = True
    marks: str | None = ""
    plant: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What became of a job: `ended` is "exit", "time limit" or "signal N"; `code` is pytest's exit code.

    `broken` holds the files whose tests could not be collected.
    """

    ended: str
    code: int = -1
    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    imported_from: str = ""
    wall_s: float = 0.0
    output: str = ""

    @property
    def is_green(self) -> bool:
        return self.ended == "exit" and self.code == 0 and bool(self.passed)


def preload() -> None:
    """Imports what every test imports; one thread a process, since several run beside one another."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for name in PRELOADED:
        importlib.import_module(name)


class Child:
    """One forked test run in `tree`; the files it mutates are whole again once `poll` gave the outcome."""

    def __init__(self, tree: Path, job: Job) -> None:
        self.tree, self.job = tree, job
        self.started = time.monotonic()
        self.log, self.report = tree / ".output", tree / ".report"
        self.report.unlink(missing_ok=True)
        self.before = {tree / name: (tree / name).read_bytes() for name in job.plant}
        for name, text in job.plant.items():
            (tree / name).write_text(text, encoding="utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run_in_child(tree, job, log=self.log, report=self.report)

    def poll(self) -> Outcome | None:
        """The outcome, or None while the child runs within its time."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        wall_s = time.monotonic() - self.started
        if pid == 0 and wall_s < self.job.time_limit_s:
            return None
        self.end(is_reaped=pid != 0)
        ended = "time limit" if pid == 0 else f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "exit"
        outcome = Outcome(ended)
        if ended == "exit" and self.report.is_file():
            outcome = Outcome(ended, **json.loads(self.report.read_text(encoding="utf-8")))
        outcome.wall_s = wall_s
        outcome.output = self.log.read_text(encoding="utf-8", errors="replace")
        return outcome

    def end(self, *, is_reaped: bool = False) -> None:
        """Kills what is left of the run, and puts the mutated files back."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not is_reaped:
            os.waitpid(self.pid, 0)
        for path, content in self.before.items():
            path.write_bytes(content)


def run_tests(tree: Path, job: Job) -> Outcome:
    """Runs one job and waits for it."""
    return next(run_all([job], [tree]))[1]


def run_all(jobs: Sequence[Job], trees: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
    """Runs jobs, one a tree at a time; yields (position of the job, outcome) as they end."""
    queue, free = list(reversed(list(enumerate(jobs)))), list(trees)
    running: dict[int, Child] = {}
    try:
        while queue or running:
            while queue and free:
                position, job = queue.pop()
                running[position] = Child(free.pop(), job)
            time.sleep(POLL_S)
            for position, child in list(running.items()):
                outcome = child.poll()
                if outcome is not None:
                    free.append(running.pop(position).tree)
                    yield position, outcome
    finally:
        for child in running.values():
            child.end()


class _Recorder:
    """A pytest plugin that notes what became of each test."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self.broken: list[str] = []

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.skipped.append(report.nodeid)
        elif report.when == "call":
            self.passed.append(report.nodeid)


def _run_in_child(tree: Path, job: Job, *, log: Path, report: Path) -> None:
    """Never returns: the parent's open files, handlers and loops must not run twice."""
    code = 70
    try:
        os.setsid()
        _redirect(log)
        _enter(tree)
        recorder = _Recorder()
        code = _pytest(tree, job, recorder)
        package = sys.modules.get("unpool")
        values = {"code": code, "imported_from": str(getattr(package, "__file__", "") or ""), **vars(recorder)}
        report.write_text(json.dumps(values), encoding="utf-8")
    finally:
        with contextlib.suppress(ValueError):  # streams that a test has closed
            sys.stdout.flush()
            sys.stderr.flush()
        _exit(code if code >= 0 else 70)


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _enter(tree: Path) -> None:
    """Makes the copy the only place that `unpool` and `benchmarks` come from, here and in processes started here."""
    here = Path(__file__).resolve().parents[2]
    foreign = {str(here), str(here / "src"), ""}
    sys.path[:] = [str(tree / "src"), str(tree), *(p for p in sys.path if p not in foreign)]
    for name in [name for name in sys.modules if name.split(".")[0] in ("unpool", "benchmarks")]:
        del sys.modules[name]
    # what a spawned worker imports again, and what a process that starts itself anew runs: never this harness
    sys.modules["__main__"] = ModuleType("__main__")
    sys.argv = ["pytest"]
    sys.orig_argv = [sys.executable, "-c", "raise SystemExit(70)"]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tree / "src"), str(tree)])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("UNPOOL_DATA", str(here.parent / "shared" / "data"))
    sys.dont_write_bytecode = True
    os.chdir(tree)


def _pytest(tree: Path, job: Job, recorder: _Recorder) -> int:
    import pytest

    arguments = ["-q", "--no-header", "-p", "no:cacheprovider", f"--rootdir={tree}", f"--basetemp={tree / '.tmp'}"]
    arguments += ["-c", str(tree / "pyproject.toml")]
    arguments += ["-x"] if job.stop_at_first else []
    arguments += [] if job.marks is None else ["-m", job.marks]
    return int(pytest.main([*arguments, *job.tests], plugins=[recorder]))
