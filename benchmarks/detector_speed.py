"""Trains and asks the same Faster R-CNN (ResNet-50, pyramid) with Unpool and with torchvision, in turns.

Both get the same generated scenes, already of the size of the network's input, the same batch, and weights that are
drawn anew. torchvision's step is that of its reference scripts (references/detection/engine.py): eager float32, SGD
with momentum, the loss read back in each step. Each run is a process of its own, ours with the allocator's settings of
the command line; what Unpool decides for this machine is kept from one to the next.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.cli.environment import SETTINGS, prepare_torch

NETWORK, CLASSES, SEED, WARM_UP = "fasterrcnn_resnet50_fpn", 3, 0, 2

RECIPE = """
about: Generated scenes, one batch again and again.
data: {{reader: box_scenes, count: {batch}, side: {side}, workers: 0}}
model: {{name: {network}, norms: trained}}
task: {{name: detection}}
train: {{epochs: 1000, batch: {batch}, optimizer: sgd, lr: 1e-4, momentum: 0.9, weight_decay: 1e-4, schedule: constant}}
"""


def ours(side: int, batch: int, steps: int) -> dict[str, float]:
    """Seconds of a training step and of an answer, by `unpool.train` and by what `predict` runs."""
    import unpool
    from benchmarks.ours import Clock, Enough, Repeat
    from unpool.training.job import Job, lay_out

    prepare_torch()

    class Held(Clock):
        def start(self, job: Job) -> None:
            self.batch = next(job.loader.stream(0, 0, 1))
            job.loader.close()
            job.loader = Repeat(self.batch)

    clock = Held(steps)
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        recipe = Path(folder, "detector.yaml")
        recipe.write_text(RECIPE.format(network=NETWORK, side=side, batch=batch))
        unpool.train(recipe, run=Path(folder, "run"), callbacks=[clock])
    if clock.job is None:
        raise RuntimeError("the run ended before all steps were timed")
    job = clock.job
    job.learned.eval()
    inputs = lay_out(job.prepare(dict(clock.batch)), job.memory_format)

    @torch.inference_mode()
    def answer() -> None:
        job.task.answer(job.model, job.task.inputs_of(inputs))

    return {"train": statistics.median(clock.times_s()), "answer": timed(answer, steps)}


def theirs(side: int, batch: int, steps: int) -> dict[str, float]:
    """Seconds of torchvision's reference step, and of its answer."""
    from torchvision.models import detection

    from unpool.data.box_scenes import BoxScenes

    torch.manual_seed(SEED)
    scenes = [BoxScenes(None, "train", count=batch, side=side)[number] for number in range(batch)]
    images = [scene["image"].float() / 255 for scene in scenes]
    targets = [{"boxes": scene["boxes"], "labels": scene["labels"] + 1} for scene in scenes]
    model = detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=side, max_size=side
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def train() -> None:
        losses: dict[str, Tensor] = model(images, targets)
        total = torch.stack(list(losses.values())).sum()
        if not total.isfinite().item():
            raise RuntimeError("torchvision's loss is not finite")
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    @torch.inference_mode()
    def answer() -> None:
        model(images)

    taken = timed(train, steps)
    model.eval()
    return {"train": taken, "answer": timed(answer, steps)}


def timed(function: Callable[[], None], steps: int) -> float:
    """Median seconds of a call, after a warm-up."""
    taken = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[WARM_UP:])


def in_process(who: str, options: argparse.Namespace, cache: Path) -> dict[str, float]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), **(SETTINGS if who == "ours" else {})}
    numbers = [f"--{name}={getattr(options, name)}" for name in ("side", "batch", "steps")]
    command = [sys.executable, "-m", "benchmarks.detector_speed", "--who", who, *numbers]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="timed ones of each kind in each process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=RESULTS / "detector_speed.json")
    parser.add_argument("--who", choices=("ours", "theirs"), help="internal: be one of the processes")
    options = parser.parse_args(arguments)
    if options.who:
        run = ours if options.who == "ours" else theirs
        print(json.dumps(run(options.side, options.batch, options.steps)))
        return 0
    began_s, rounds = time.monotonic(), []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(options.rounds):
            rounds.append([in_process(who, options, Path(cache)) for who in ("ours", "theirs")])
            print(rounds[-1], flush=True)
    rows = []
    for kind, name in (("train", "training step"), ("answer", "answer")):
        own, other = (statistics.median(pair[place][kind] for pair in rounds) for place in (0, 1))
        ratios = [pair[1][kind] / pair[0][kind] for pair in rounds]
        what = f"Faster R-CNN, ResNet-50 and a pyramid, {options.batch} images of {options.side}, {name}, s"
        reference = f"{other:.2f} (torchvision): {other / own:.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append(Row(what=what, figure=f"{own:.2f}", reference=reference))
        print(f"{what}: {own:.2f}, {reference}")
    command, wall_s = "python -m benchmarks.detector_speed", time.monotonic() - began_s
    write_result(options.json, rows, command=command, seed=SEED, wall_s=wall_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
