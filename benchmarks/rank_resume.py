"""Resumes a run of two processes by one, two and four, and compares the losses of the next 20 steps.

In float32 a sum over a batch is rounded in another way by another number of processes, and the differences grow. How
far that goes is measured too: by two processes again, after the last bit of each saved weight was drawn anew.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import NOISES, nudge
from benchmarks.record import RESULTS, Row, write_result
from unpool.training import checkpoint
from unpool.training.state import WEIGHTS

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
    """Losses after the resume, by the number of processes; of 0 those of two from other last bits."""
    losses = {}
    with tempfile.TemporaryDirectory() as name:
        first = Path(name, "first")
        unpool("train", "scenes_unet", *SMALL, *optimizer, "--run", str(first))
        for count in (2, 1, 4, 0):
            run = Path(name, f"by{count}")
            shutil.copytree(first, run)
            if not count:
                nudge_saved(run / "last")
            unpool("train", "--resume", str(run), "train.epochs=6", f"train.processes={count or 2}")
            losses[count] = losses_of(run)
    return losses


def nudge_saved(folder: Path) -> None:
    """Draws the last bits of the newest saved weights anew."""
    saved = checkpoint.load(folder)
    if saved is None:
        raise RuntimeError(f"{folder} holds no state")
    tensors, meta = saved
    nudge(tensors[name] for name in sorted(tensors) if name.startswith(WEIGHTS) and tensors[name].is_floating_point())
    checkpoint.save(folder, tensors, meta)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    began_s = time.monotonic()
    rows, is_good = [], True
    for optimizer in OPTIMIZERS:
        losses = resumed(optimizer)
        name = optimizer[0].rpartition("=")[2]
        noise = _worst(losses[2], losses[0])
        for count in (1, 4):
            worst = _worst(losses[2], losses[count])
            is_good &= len(losses[count]) == STEPS and worst < max(1e-5, NOISES * noise)
            what = f"{name}: largest difference of {STEPS} losses, resumed by {count} in place of 2"
            reference = f"1e-05; other last bits of the weights make {noise:.1e}"
            rows.append(Row(what=what, figure=f"{worst:.1e}", reference=reference))
            sys.stdout.write(f"{what}: {worst:.1e} ({reference})\n")
    command, wall_s = "python -m benchmarks.rank_resume", time.monotonic() - began_s
    write_result(RESULTS / "rank_resume.json", rows, command=command, seed=0, wall_s=wall_s)
    return 0 if is_good else 1


def _worst(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    sys.exit(main())
