"""Kills a training run with signal 9, again and again, resumes it, and compares its bits with a run left in peace.

A third of the kills fall while a checkpoint is being written (its temporary name is watched for), a sixth while the
program starts, the rest at any moment of the training.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, Row, write_result
from unpool.errors import STOP_SIGNALS

CHECKPOINT = re.compile(r"step-(\d+)(?:-(\d+))?")
MEASURED = ("_s", "_mib")  # endings of the keys of a log line that say what a step took, not what it computed
ORPHAN_LIMIT_S = 10.0


@dataclass(frozen=True)
class Kill:
    """One kill: when it was planned, what the run had reached, how long its workers outlived it."""

    moment: str
    after_s: float
    step: int
    orphans_s: float


class Trainer:
    """Starts `program train` on one recipe, in run directories of its own."""

    def __init__(self, program: Sequence[str], recipe: str, *, overrides: Sequence[str], log: Path) -> None:
        self.program, self.recipe, self.overrides, self.log = list(program), recipe, list(overrides), log

    def start(self, run: Path) -> subprocess.Popen[bytes]:
        """Begins the run, or continues it where there is something to continue."""
        if (run / "recipe.yaml").is_file():
            command = [*self.program, "train", "--resume", str(run)]
        else:
            shutil.rmtree(run, ignore_errors=True)
            command = [*self.program, "train", self.recipe, *self.overrides, "--run", str(run)]
        with self.log.open("ab") as log:
            # a session of its own, so that what outlives the kill can be found
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def finish(self, run: Path) -> float:
        """Seconds that the run took to its end.

        Raises:
            RuntimeError: it did not exit with 0.
        """
        started = time.monotonic()
        self.expect(self.start(run).wait(), 0)
        return time.monotonic() - started

    def expect(self, code: int, wanted: int) -> None:
        if code != wanted:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"the trainer exited with {code}, expected {wanted}; the end of {self.log}:\n{tail}")


def kill_once(trainer: Trainer, run: Path, moment: str, *, after_s: float) -> Kill | None:
    """Starts the run and kills it; None where it came to its end before that.

    At moment "start" `after_s` counts from the start of the program, at "training" from its first logged step, and at
    "checkpoint" from the sight of a half-written checkpoint.
    """
    logged, leftovers = Growth(run / "log.jsonl"), _unfinished(run / "last")
    process = trainer.start(run)
    is_time: dict[str, Callable[[], bool]] = {
        "start": lambda: True,
        "training": logged.is_seen,
        "checkpoint": lambda: bool(_unfinished(run / "last") - leftovers),
    }
    while not is_time[moment]() and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(after_s)
    process.kill()
    code = process.wait()
    if code == 0:
        return None
    trainer.expect(code, -signal.SIGKILL)
    return Kill(moment, round(after_s, 4), _last_step(run), round(wait_for_orphans(process.pid), 2))


class Growth:
    """Sees a file grow; that it is made empty, or cut to what a resumed run keeps, does not count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = self._size()

    def is_seen(self) -> bool:
        """Whether the file is longer than when this was last asked."""
        before, self.size = self.size, self._size()
        return self.size > before

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def _unfinished(folder: Path) -> set[tuple[str, int]]:
    """Name and inode of each half-written checkpoint: one that an earlier kill left is not a new one."""
    try:
        with os.scandir(folder) as entries:
            return {(entry.name, entry.inode()) for entry in entries if not CHECKPOINT.fullmatch(entry.name)}
    except FileNotFoundError:
        return set()


def _last_step(run: Path) -> int:
    steps = _log(run)
    return steps[-1]["step"] if steps else 0


def _log(run: Path) -> list[dict[str, Any]]:
    """What each logged step computed, without what it took; a last line cut short by a kill is left out."""
    try:
        lines = (run / "log.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [{key: value for key, value in json.loads(line).items() if not key.endswith(MEASURED)} for line in lines]


def hear_signals() -> None:
    """Gives the signals that stop a trainer their default handlers; a background job ignores some."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def wait_for_orphans(session: int) -> float:
    """Seconds until no process of the session was left; those that stay longer than the limit are killed."""
    started = time.monotonic()
    while pids := living(session):
        if time.monotonic() - started > ORPHAN_LIMIT_S:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    return time.monotonic() - started


def living(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def fingerprints(run: Path) -> dict[str, str]:
    """sha256 of the weights, of the newest resume state, and of the computed part of the log."""
    states = {path: match for path in (run / "last").iterdir() if (match := CHECKPOINT.fullmatch(path.name))}
    newest = max(states, key=lambda path: (int(states[path][1]), int(states[path][2] or 0)))
    files = {"model.safetensors": run / "model.safetensors", "last/state.safetensors": newest / "state.safetensors"}
    if (run / "best.safetensors").is_file():
        files["best.safetensors"] = run / "best.safetensors"
    prints = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return prints | {"log.jsonl": hashlib.sha256(json.dumps(_log(run)).encode()).hexdigest()}


def plan(kills: int, *, seed: int, startup_s: float, training_s: float) -> list[tuple[str, float]]:
    """A moment and a delay for each kill."""
    generator = random.Random(seed)
    moments = ["checkpoint", "training", "training", "checkpoint", "training", "start"]
    spans_s = {"start": startup_s, "training": 1.5 * training_s / (kills + 1), "checkpoint": 0.02}
    chosen = [moments[position % len(moments)] for position in range(kills)]
    generator.shuffle(chosen)
    return [(moment, generator.uniform(0.0, spans_s[moment])) for moment in chosen]


def compare(trainer: Trainer, folder: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """Trains once in peace and once under kills.

    Returns:
        The kills done, the fingerprints of both runs, and which of them differ.
    """
    straight, killed = folder / "straight", folder / "killed"
    wall_s = trainer.finish(straight)
    training_s = (straight / "log.jsonl").stat().st_mtime - (straight / "recipe.yaml").stat().st_mtime
    done: list[Kill] = []
    for moment, after_s in plan(kills, seed=seed, startup_s=max(0.1, wall_s - training_s), training_s=training_s):
        kill = kill_once(trainer, killed, moment, after_s=after_s)
        if kill is None:
            break
        done.append(kill)
        print(f"kill {len(done)} of {kills}: {moment}, {after_s:.3f} s, step {kill.step}", flush=True)
    trainer.finish(killed)
    ours, theirs = fingerprints(killed), fingerprints(straight)
    trainer.finish(killed)
    return {
        "kills": [asdict(kill) for kill in done],
        "straight": theirs,
        "killed": ours,
        "differ": sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)),
        "rewritten_when_finished": fingerprints(killed) != ours,
        "straight_s": round(wall_s, 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    folder = Path(options.work or tempfile.mkdtemp(prefix="unpool-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(shlex.split(options.program), options.recipe, overrides=options.overrides, log=folder / "output")
    try:
        found = compare(trainer, folder, kills=options.kills, seed=options.seed)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        if not options.work:
            shutil.rmtree(folder)
    longest = max((kill["orphans_s"] for kill in found["kills"]), default=0.0)
    is_same = not found["differ"] and not found["rewritten_when_finished"]
    rows = [
        Row(what="kill -9 survived, same bits at the end", figure=f"{len(found['kills']) if is_same else 0} kills"),
        Row(what="of these while a checkpoint was being written", figure=str(_count(found["kills"], "checkpoint"))),
        Row(
            what="files that differ from the run left in peace", figure=", ".join(found["differ"]) or "0", reference="0"
        ),
        Row(what="longest that a worker outlived its trainer, s", figure=f"{longest:.1f}", reference="10"),
    ]
    command = shlex.join(["python", "-m", "benchmarks.kill_resume", options.recipe, *options.overrides])
    wall_s = time.monotonic() - started
    write_result(options.json, rows, command=command, seed=options.seed, wall_s=wall_s, details=found)
    print("\n".join(f"{row.what}: {row.figure}" for row in rows))
    return int(not is_same or len(found["kills"]) < options.kills or longest >= ORPHAN_LIMIT_S)


def _count(kills: Sequence[dict[str, Any]], moment: str) -> int:
    return sum(kill["moment"] == moment for kill in kills)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.kill_resume", description=__doc__)
    parser.add_argument("recipe", help="name or file of a recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as for `unpool train`")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder for the runs, kept (default: a temporary one)")
    parser.add_argument("--program", default=str(Path(sys.executable).parent / "unpool"), help="what is killed")
    parser.add_argument("--json", type=Path, default=RESULTS / "kill_resume.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
