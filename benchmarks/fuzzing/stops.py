"""Trainers stopped by signals and closed pipes at random moments, in chains of stops and resumes.

Each stop must end with its exit code, without a traceback and without processes left; each chain with the bits of a
run that was left alone.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.fuzzing.runs import RUNS, SMALL
from benchmarks.fuzzing.verdict import SAME, Verdict
from benchmarks.kill_resume import ORPHAN_LIMIT_S, fingerprints, hear_signals, wait_for_orphans
from tests.tiny_trees import write_tree

CHAIN = 8  # stops of one run
EPOCHS = 4
WORKERS = (0, 1)
KINDS = ("SIGHUP", "SIGINT", "SIGTERM", "SIGKILL", "pipe")
CODES = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}
EARLY = 0.4  # share of the stops that fall into the first seconds, while modules are imported
NOISE = ("Traceback (most recent", "Exception ignored", "Fatal Python error", "terminate called", "core dumped")
LIMIT_S = 300.0


class Peace(NamedTuple):
    """A run that was left alone: its prints, and how long it took to its first step and to its end."""

    prints: dict[str, str]
    start_s: float
    wall_s: float


class Stops:
    """Cases by number, in order: `CHAIN` stops are of one run, begun by the first of them."""

    def __init__(self, work: Path, seed: int, *, program: Sequence[str] = ()) -> None:
        self.work, self.seed = work, seed
        self.program = [*program] or [str(Path(sys.executable).parent / "unpool")]
        self.root = work / "data" / "stops"
        if not self.root.is_dir():
            write_tree("folder", self.root)
        self.peace = {workers: self._in_peace(workers) for workers in WORKERS}

    def _in_peace(self, workers: int) -> Peace:
        run, started = self.work / f"peace-{workers}", time.time()
        shutil.rmtree(run, ignore_errors=True)
        code = self._start(run, workers, output=self.work / "output").wait()
        if code:
            raise RuntimeError(f"the run in peace exited with {code}: {self._output()}")
        return Peace(fingerprints(run), (run / "recipe.yaml").stat().st_mtime - started, time.time() - started)

    def case(self, number: int) -> Verdict:
        rng = random.Random(f"stops {self.seed} {number}")
        workers = WORKERS[number // CHAIN % len(WORKERS)]
        peace, run, kind = self.peace[workers], self.work / "chain", rng.choice(KINDS)
        if number % CHAIN == 0:
            shutil.rmtree(run, ignore_errors=True)
        after_s = rng.uniform(0, peace.start_s if rng.random() < EARLY else peace.wall_s)
        had_state = (run / "recipe.yaml").is_file()
        code, is_late = self._stopped(run, workers, kind=kind, after_s=after_s, rng=rng)
        where = f"{kind}, {'importing' if after_s < peace.start_s else 'training'}"
        told = f"after {after_s:.3f} s, workers {workers}, exit {code}, {'resumed' if had_state else 'begun'}"
        if wrong := self._wrong(kind, code, is_late=is_late):
            return Verdict(wrong, where, f"{told}: {self._output()}")
        if had_state and not (run / "recipe.yaml").is_file():
            return Verdict("lost", where, f"{told}: recipe.yaml is gone")
        if code == 0 or number % CHAIN == CHAIN - 1:
            return self._compared(run, workers, where=where, told=told)
        return Verdict("stopped", where)

    def _stopped(self, run: Path, workers: int, *, kind: str, after_s: float, rng: random.Random) -> tuple[int, bool]:
        """The exit code of a run that is stopped once, and whether the stop came after its end."""
        output = self.work / "output"
        if kind != "pipe":
            process = self._start(run, workers, output=output)
            is_late = _ends_within(process, after_s)
            if not is_late:
                process.send_signal(getattr(signal, kind))
        else:
            read, write = os.pipe()
            process = self._start(run, workers, output=output, pipe=(write, rng.choice(("stdout", "stderr", "both"))))
            os.close(write)
            is_late = _ends_within(process, after_s)
            os.close(read)
        try:
            return process.wait(LIMIT_S), is_late
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return 1000, is_late
        finally:
            self.orphans_s = wait_for_orphans(process.pid)

    def _start(
        self, run: Path, workers: int, *, output: Path, pipe: tuple[int, str] | None = None
    ) -> subprocess.Popen[bytes]:
        small = {**SMALL, **RUNS["classification"][3], "data.root": self.root, "data.workers": workers}
        small |= {"train.epochs": EPOCHS, "train.save_every_s": 0}
        words = ["train", "--resume", str(run)]
        if not (run / "recipe.yaml").is_file():
            shutil.rmtree(run, ignore_errors=True)
            words = [
                "train",
                RUNS["classification"][0],
                *(f"{k}={_word(v)}" for k, v in small.items()),
                "--run",
                str(run),
            ]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.work / "cache"), "OMP_NUM_THREADS": "1"}
        with output.open("wb") as log:
            streams = dict.fromkeys(("stdout", "stderr"), log)
            if pipe is not None:
                streams |= dict.fromkeys(("stdout", "stderr") if pipe[1] == "both" else (pipe[1],), pipe[0])
            return subprocess.Popen(
                [*self.program, *words],
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
                preexec_fn=hear_signals,
                **streams,
            )

    def _wrong(self, kind: str, code: int, *, is_late: bool) -> str:
        if code == 1000:
            return "hang"
        if any(word in self._output() for word in NOISE):
            return "traceback"
        if self.orphans_s >= ORPHAN_LIMIT_S:
            return "orphans"
        # before the interpreter has run a line of ours, a signal does what it does to any program
        allowed = {0} if kind == "pipe" or is_late else {0, CODES[kind], -getattr(signal, kind)}
        return "" if code in allowed else "exit code"

    def _compared(self, run: Path, workers: int, *, where: str, told: str) -> Verdict:
        """Ends the chain, and compares its bits with those of the run in peace."""
        code = self._start(run, workers, output=self.work / "output").wait()
        if code:
            return Verdict("lost", where, f"{told}; the last resume exited with {code}: {self._output()}")
        prints = fingerprints(run)
        shutil.rmtree(run)
        differ = [name for name, print_ in self.peace[workers].prints.items() if prints.get(name) != print_]
        return Verdict("silently other", where, f"{told}: {differ} differ") if differ else Verdict(SAME, where)

    def _output(self) -> str:
        return (self.work / "output").read_text(encoding="utf-8", errors="replace")[-2500:]


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _word(value: object) -> str:
    return "null" if value is None else str(value)


def cases(work: Path, seed: int) -> Stops:
    """The cases of a seed."""
    return Stops(work, seed)
