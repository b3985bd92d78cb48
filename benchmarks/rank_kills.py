"""Kills or stops a random process of a run by `torchrun --max-restarts`, and compares its bits with a run left alone.

A kill is SIGKILL, at a random moment from the start of the processes on; a hang SIGSTOP, at one from the first save on:
before, a process is given the time to start and to read. Measured is how long the other processes lived on.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import RESULTS, Row, write_result

SMALL = (
    *("data.count=96", "data.workers=0", "model.width=8", "train.epochs=6", "train.batch=7", "train.drop_last=false"),
    *("train.precision=float32", "train.memory_format=contiguous", "train.save_every_s=0.5", "train.evaluate_every=3"),
)
LONGEST_S = 300


def torchrun(run: Path, *, processes: int, log: Path) -> subprocess.Popen[bytes]:
    starter = ("torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=3")
    command = [sys.executable, "-m", *starter, "-m", "unpool", "train", "scenes_unet", *SMALL, "--run-dir", str(run)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def ranks_of(agent: subprocess.Popen[bytes]) -> dict[int, int]:
    """Process number of each rank that runs."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"\nPPid:\t{agent.pid}\n" in (folder / "status").read_text():
                values = dict(
                    pair.split("=", 1) for pair in (folder / "environ").read_text().split("\0") if "=" in pair
                )
                if "RANK" in values:
                    found[int(values["RANK"])] = int(folder.name)
        except OSError:
            continue
    return found


def is_alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def disturbed(run: Path, *, processes: int, after_s: float, rank: int, number: int, log: Path) -> tuple[float, int]:
    """How long the others lived on after one process was killed or stopped, and the exit code of all."""
    agent = torchrun(run, processes=processes, log=log)
    while len(ranks := ranks_of(agent)) < processes and agent.poll() is None:
        time.sleep(0.02)
    while number == signal.SIGSTOP and not list(run.glob("last/step-*")) and agent.poll() is None:
        time.sleep(0.02)
    time.sleep(after_s)
    others, lived_s = [process for other, process in ranks.items() if other != rank], 0.0
    if is_alive(ranks[rank]):
        os.kill(ranks[rank], number)
        started_s = time.monotonic()
        while any(map(is_alive, others)) and time.monotonic() - started_s < LONGEST_S:
            time.sleep(0.02)
        lived_s = time.monotonic() - started_s
    return lived_s, agent.wait(LONGEST_S)


def bits_of(run: Path) -> str:
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hangs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    values = parser.parse_args()
    began_s, draw = time.monotonic(), random.Random(values.seed)
    with tempfile.TemporaryDirectory() as name:
        folder, log = Path(name), Path(name, "log.txt")
        started_s = time.monotonic()
        if torchrun(folder / "alone", processes=values.processes, log=log).wait(LONGEST_S):
            sys.stderr.write(log.read_text())
            return 1
        whole_s, expected = time.monotonic() - started_s, bits_of(folder / "alone")
        sys.stdout.write(f"alone {whole_s:.1f} s\n")
        lived: dict[int, list[float]] = {signal.SIGKILL: [], signal.SIGSTOP: []}
        same = 0
        for case, number in enumerate([signal.SIGKILL] * values.kills + [signal.SIGSTOP] * values.hangs):
            most_s = whole_s if number == signal.SIGKILL else whole_s / 2  # most of the rest after the first save
            run, after_s, rank = folder / f"run{case}", draw.uniform(0, most_s), draw.randrange(values.processes)
            lived_s, code = disturbed(
                run, processes=values.processes, after_s=after_s, rank=rank, number=number, log=log
            )
            is_same = code == 0 and bits_of(run) == expected
            same += is_same
            lived[number].append(lived_s)
            line = f"{number.name} rank {rank} after {after_s:.1f} s: others ended {lived_s:.1f} s later, exit {code}"
            sys.stdout.write(f"{line}, {'same bits' if is_same else 'OTHER BITS'}\n")
            sys.stdout.flush()
            if not is_same:
                sys.stdout.write(log.read_text()[-3000:])
        return _write(lived, same, values, wall_s=time.monotonic() - began_s)


def _write(lived: dict[int, list[float]], same: int, values: argparse.Namespace, *, wall_s: float) -> int:
    count = values.kills + values.hangs
    rows = [Row(what="runs with the bits of one left alone", figure=f"{same} of {count}", reference=str(count))]
    names: Sequence[tuple[int, str, str]] = ((signal.SIGKILL, "killed", "30"), (signal.SIGSTOP, "stopped", "30"))
    for number, name, most_s in names:
        if lived[number]:
            figure = f"{max(lived[number]):.1f}"
            rows.append(Row(what=f"longest life of others after one was {name}, s", figure=figure, reference=most_s))
    options = f"--kills {values.kills} --hangs {values.hangs} --processes {values.processes}"
    command = f"python -m benchmarks.rank_kills {options} --seed {values.seed}"
    write_result(RESULTS / "rank_kills.json", rows, command=command, seed=values.seed, wall_s=wall_s)
    return 0 if same == count else 1


if __name__ == "__main__":
    sys.exit(main())
