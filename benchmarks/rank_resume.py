"""Resumes a run of two processes by one, two and four, and compares the losses of the next 20 steps."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import RESULTS, Row, write_result

STEPS = 20
SMALL = (
    *("data.count=49", "data.workers=0", "model.width=8", "train.epochs=3", "train.batch=8", "train.drop_last=false"),
    *("train.precision=float32", "train.memory_format=contiguous", "train.threads=1", "train.schedule=constant"),
    *("train.evaluate_every=3", "model.sync_batch_norm=true", "train.processes=2"),
)
OPTIMIZERS = (("train.optimizer=sgd", "train.lr=0.05"), ("train.optimizer=adamw", "train.lr=1e-3"))


def unpool(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "unpool", *words], check=True, stdout=subprocess.DEVNULL)


def losses_of(run: Path) -> list[float]:
    """Of the steps after those of the first run."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "step"][21 : 21 + STEPS]


def resumed(optimizer: tuple[str, ...]) -> dict[int, list[float]]:
    """Losses after the resume, by the number of processes."""
    losses = {}
    with tempfile.TemporaryDirectory() as name:
        first = Path(name, "first")
        unpool("train", "scenes_unet", *SMALL, *optimizer, "--run", str(first))
        for count in (2, 1, 4):
            run = Path(name, f"by{count}")
            shutil.copytree(first, run)
            unpool("train", "--resume", str(run), "train.epochs=6", f"train.processes={count}")
            losses[count] = losses_of(run)
    return losses


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    began_s = time.monotonic()
    rows, is_good = [], True
    for optimizer in OPTIMIZERS:
        losses = resumed(optimizer)
        for count in (1, 4):
            worst = max(abs(one - other) for one, other in zip(losses[2], losses[count], strict=True))
            is_good &= len(losses[count]) == STEPS and worst < 1e-5
            name = optimizer[0].rpartition("=")[2]
            what = f"{name}: largest difference of {STEPS} losses, resumed by {count} in place of 2"
            rows.append(Row(what=what, figure=f"{worst:.1e}", reference="1e-05"))
            sys.stdout.write(f"{what}: {worst:.1e}\n")
    command, wall_s = "python -m benchmarks.rank_resume", time.monotonic() - began_s
    write_result(RESULTS / "rank_resume.json", rows, command=command, seed=0, wall_s=wall_s)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
