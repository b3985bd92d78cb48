"""Stops runs by signals at random moments from the start of the program on, and looks at how each of them ended.

A signal goes to the program alone, to its whole group of processes, or comes from its terminal (Ctrl-C, or the window
is closed). Right is: the exit code 128 + signal, one line that begins with `error:`, no traceback, no process left
over, and either no run directory or one that can be resumed. Where Python itself is not yet ready (some 50 ms, in
which no line of a program is run) the end is Python's; such stops are counted apart.
"""

import argparse
import fcntl
import os
import pty
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.kill_resume import ORPHAN_LIMIT_S, hear_signals, wait_for_orphans
from benchmarks.record import RESULTS, Row, write_result

SMALL = ["data.count=32", "model.width=4", "train.batch=8"]
SMALL += ["train.precision=float32", "train.memory_format=contiguous", "train.epochs=100000", "train.save_every_s=1"]
BAD = ("Traceback", "Exception ignored", "Fatal", "terminate called", "core dumped", "KeyboardInterrupt", "warning: ")
WAYS = ("process", "group", "terminal")
LONGEST_S = 60.0  # from the signal to the end


@dataclass(frozen=True)
class Stop:
    """One stop and how the program ended.

    Attributes:
        before_program: Python had not yet run the first line of the program.
        wrong: what is not as it should be; empty where all is right.
        output: its end, where something is wrong.
    """

    signal: str
    way: str
    after_s: float
    code: int
    ended_s: float
    before_program: bool
    wrong: list[str] = field(default_factory=list)
    output: str = ""


class Started:
    """A program in a session of its own, its output collected; in a terminal of its own where `way` asks for it."""

    def __init__(self, command: Sequence[str], *, way: str, folder: Path) -> None:
        self.way = way
        reading, writing = pty.openpty() if way == "terminal" else os.pipe()
        self._reading = reading
        self._closed = threading.Event()
        self.output = b""

        def prepare() -> None:
            os.setsid()
            hear_signals()
            if way == "terminal":
                fcntl.ioctl(1, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, cwd=folder, preexec_fn=prepare
        )
        os.close(writing)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def stop(self, number: int) -> None:
        """Sends the signal in the way of this start."""
        if self.way == "terminal" and number == signal.SIGINT:
            os.write(self._reading, b"\x03")
        elif self.way == "terminal" and number == signal.SIGHUP:
            self._closed.set()
            self._thread.join()
            os.close(self._reading)
        elif self.way == "process":
            self.process.send_signal(number)
        else:
            os.killpg(self.process.pid, number)

    def is_ready(self) -> bool:
        """Whether the program's handlers are there, or its signals wait for them (Linux)."""
        bit = 1 << (signal.SIGTERM - 1)
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return any(int(lines[key], 16) & bit for key in ("SigCgt", "SigBlk") if key in lines)

    def end(self) -> int:
        """Waits for the end; what still runs after `LONGEST_S` is killed."""
        try:
            code = self.process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        self._thread.join(ORPHAN_LIMIT_S)
        return code

    def _collect(self) -> None:
        os.set_blocking(self._reading, False)
        while not self._closed.is_set():
            try:
                data = os.read(self._reading, 65536)
            except BlockingIOError:
                time.sleep(0.002)
                continue
            except OSError:  # the other side of a terminal is closed
                return
            if not data:
                return
            self.output += data


def stop_once(command: Sequence[str], number: int, *, way: str, after_s: float, folder: Path) -> Stop:
    """Starts the command with `--run` in `folder`, stops it after `after_s`, and looks at what is left."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    started = Started([*command, "--run", str(run)], way=way, folder=folder)
    time.sleep(after_s)
    is_ready = started.is_ready()
    stopped_s = time.monotonic()
    started.stop(number)
    code = started.end()
    ended_s = time.monotonic() - stopped_s
    closed = way == "terminal" and number == signal.SIGHUP
    text = started.output.decode(errors="replace")
    wrong = _faults(code, text, number=number, closed=closed)
    if wait_for_orphans(started.process.pid) > ORPHAN_LIMIT_S:
        wrong.append("a process was left over")
    wrong += _lost(run)
    return Stop(
        signal=signal.Signals(number).name,
        way=way,
        after_s=round(after_s, 4),
        code=code,
        ended_s=round(ended_s, 2),
        before_program=not is_ready,
        wrong=wrong,
        output=text[-2000:] if wrong else "",
    )


def _faults(code: int, text: str, *, number: int, closed: bool) -> list[str]:
    faults = [f"exit code {code}"] if code != 128 + number else []
    faults += [f"{bad!r} was written" for bad in BAD if bad in text]
    lines = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", text).replace("^C", "").replace("\r", "\n").splitlines()
    errors = sum(line.startswith("error: ") for line in lines)
    if errors != 1 and not closed:
        faults.append(f"{errors} lines of errors")
    return faults


def _lost(run: Path) -> list[str]:
    if not run.exists():
        return []
    states = list((run / "last").glob("step-*/manifest.json"))
    left = sorted(path.name for path in run.iterdir())
    if not (run / "recipe.yaml").is_file():
        return [f"a run directory that cannot be resumed: {left}"]
    unfinished = [path.name for path in run.rglob(".writing-*")]
    return [f"no state among {left}"] * (not states) + [f"half-written {unfinished}"] * bool(unfinished)


def plan(stops: int, *, seed: int, span_s: float, ways: Sequence[str]) -> list[tuple[str, float]]:
    """A way and a delay for each stop."""
    generator = random.Random(seed)
    return [(ways[i % len(ways)], generator.uniform(0.0, span_s)) for i in range(stops)]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="unpool-stops-"))
    command = [*shlex.split(options.program), "train", "scenes_unet", *SMALL, *options.overrides]
    done: list[Stop] = []
    try:
        for name in options.signals:
            number = signal.Signals[f"SIG{name}"]
            for way, after_s in plan(options.stops, seed=options.seed, span_s=options.span_s, ways=options.ways):
                stop = stop_once(command, number, way=way, after_s=after_s, folder=folder)
                done.append(stop)
                early = " (before the program)" if stop.before_program else ""
                print(
                    f"{len(done)} {name} {way} {after_s:.3f} s: {stop.code}{early} {'; '.join(stop.wrong)}", flush=True
                )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = ["python", "-m", "benchmarks.stops", *options.overrides]
    rows = [_row(name, done) for name in options.signals]
    early = sum(stop.before_program for stop in done)
    rows.append(Row(what="of these before Python runs a program's first line", figure=str(early)))
    slowest = max((stop.ended_s for stop in done), default=0.0)
    rows.append(Row(what="longest from the signal to the end, s", figure=f"{slowest:.1f}", reference="10"))
    details = {"stops": [asdict(stop) for stop in done]}
    wall_s = time.monotonic() - began_s
    write_result(options.json, rows, command=shlex.join(words), seed=options.seed, wall_s=wall_s, details=details)
    print("\n".join(f"{row.what}: {row.figure}" for row in rows))
    return int(any(stop.wrong and not stop.before_program for stop in done))


def _row(name: str, done: Sequence[Stop]) -> Row:
    ours = [stop for stop in done if stop.signal == f"SIG{name}" and not stop.before_program]
    right = sum(not stop.wrong for stop in ours)
    code = 128 + signal.Signals[f"SIG{name}"]
    return Row(what=f"SIG{name}: exit code {code}, one line, nothing lost", figure=f"{right} of {len(ours)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.stops", description=__doc__)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for `unpool train`")
    parser.add_argument("--signals", nargs="+", default=["INT", "TERM", "HUP"], choices=["INT", "TERM", "HUP"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--stops", type=int, default=100, help="of each signal")
    parser.add_argument("--span_s", type=float, default=6.0, help="latest stop, seconds after the start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--program", default=str(Path(sys.executable).parent / "unpool"), help="what is stopped")
    parser.add_argument("--json", type=Path, default=RESULTS / "stops.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
