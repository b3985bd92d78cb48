"""Trains and asks the same Faster and Mask R-CNN (ResNet-50, pyramid) with Unpool and with torchvision, in turns.

Both get the same generated scenes, already of the size of the network's input, the same batch, and weights that are
drawn anew. torchvision's step is that of its reference scripts (references/detection/engine.py): eager float32, SGD
with momentum, the loss read back in each step. Each is a process of its own, ours with the allocator's settings of the
command line; they take turns call by call, since a machine that others share changes its speed within a minute.
"""

import argparse
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

NETWORKS = {"fasterrcnn": "Faster R-CNN", "maskrcnn": "Mask R-CNN"}
TASKS = {"fasterrcnn": "detection", "maskrcnn": "instances"}
CLASSES, SEED, WARM_UP = 3, 0, 2
MARK = "seconds:"  # before what a process says of its turn

RECIPE = """
about: Generated scenes, one batch again and again.
data: {{reader: box_scenes, masks: {masks}, count: {batch}, side: {side}, workers: 0}}
model: {{name: {network}_resnet50_fpn, norms: trained}}
task: {{name: {task}}}
train: {{epochs: 1000, batch: {batch}, optimizer: sgd, lr: 1e-4, momentum: 0.9, weight_decay: 1e-4, schedule: constant}}
"""


def ours(network: str, side: int, batch: int, steps: int) -> None:
    """Answers each turn by a training step of `unpool.train`, and `steps` of them later by what `predict` runs."""
    import unpool
    from benchmarks.ours import Enough, Repeat
    from unpool.training.callbacks import Callback
    from unpool.training.job import Job, StepRecord, lay_out

    prepare_torch()

    class Turns(Callback):
        """Waits for its turn before each step, and says how long the step took."""

        def start(self, job: Job) -> None:
            self.job, self.done = job, 0
            self.batch = next(job.loader.stream(0, 0, 1))
            job.loader.close()
            job.loader = Repeat(self.batch)
            self.began = wait()

        def after_step(self, job: Job, record: StepRecord) -> None:
            say(self.began)
            self.done += 1
            if self.done == WARM_UP + steps:
                raise Enough
            self.began = wait()

    turns = Turns()
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):
        recipe = Path(folder, "detector.yaml")
        has_masks = "true" if network == "maskrcnn" else "false"
        filled = RECIPE.format(network=network, task=TASKS[network], masks=has_masks, side=side, batch=batch)
        recipe.write_text(filled)
        unpool.train(recipe, run=Path(folder, "run"), callbacks=[turns])
    job = turns.job
    job.learned.eval()
    inputs = lay_out(job.prepare(dict(turns.batch)), job.memory_format)

    @torch.inference_mode()
    def answer() -> None:
        job.task.answer(job.model, job.task.inputs_of(inputs))

    take_turns(answer, steps)


def theirs(network: str, side: int, batch: int, steps: int) -> None:
    """Answers each turn by torchvision's reference step, and `steps` of them later by its answer."""
    from torchvision.models import detection

    from unpool.data.box_scenes import BoxScenes

    torch.manual_seed(SEED)
    has_masks = network == "maskrcnn"
    scenes = [BoxScenes(None, "train", count=batch, side=side, masks=has_masks)[number] for number in range(batch)]
    images = [scene["image"].float() / 255 for scene in scenes]
    targets = [{"boxes": scene["boxes"], "labels": scene["labels"] + 1} for scene in scenes]
    for target, scene in zip(targets, scenes, strict=True):
        target |= {"masks": scene["masks"].byte()} if has_masks else {}
    make = detection.maskrcnn_resnet50_fpn if has_masks else detection.fasterrcnn_resnet50_fpn
    model = make(weights=None, weights_backbone=None, num_classes=CLASSES + 1, min_size=side, max_size=side)
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

    take_turns(train, steps)
    model.eval()
    take_turns(answer, steps)


def take_turns(function: Callable[[], None], steps: int) -> None:
    for _ in range(WARM_UP + steps):
        began = wait()
        function()
        say(began)


def wait() -> float:
    """Returns once it is this process's turn: the time."""
    sys.stdin.readline()
    return time.perf_counter()


def say(began: float) -> None:
    print(MARK, time.perf_counter() - began, flush=True)


class Side:
    """A process that calls what it times once each turn."""

    def __init__(self, who: str, network: str, options: argparse.Namespace, cache: Path) -> None:
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache), **(SETTINGS if who == "ours" else {})}
        numbers = [f"--{name}={getattr(options, name)}" for name in ("side", "batch", "steps")]
        command = [sys.executable, "-m", "benchmarks.detector_speed", "--who", who, network, *numbers]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True)

    def turn(self) -> float:
        """Seconds of one call."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith(MARK):
                return float(line.split()[1])
        raise RuntimeError(f"a process ended early, with exit code {self.process.wait()}: its message is above")


def rows_of(network: str, options: argparse.Namespace, cache: Path) -> list[Row]:
    """The step and the answer of one network."""
    rows, sides = [], [Side(who, network, options, cache) for who in ("ours", "theirs")]
    for name in ("training step", "answer"):
        turns = [[side.turn() for side in sides] for _ in range(WARM_UP + options.steps)][WARM_UP:]
        own, other = (statistics.median(times) for times in zip(*turns, strict=True))
        lowest, _, highest = statistics.quantiles([theirs / ours for ours, theirs in turns])
        images = f"{options.batch} images of {options.side}"
        what = f"{NETWORKS[network]}, ResNet-50 and a pyramid, {images}, {name}, s"
        ratio = f"{other / own:.2f} times (half of all turns: {lowest:.2f} to {highest:.2f})"
        rows.append(Row(what=what, figure=f"{own:.2f}", reference=f"{other:.2f} (torchvision): {ratio}"))
        print(f"{what}: {own:.2f}, {rows[-1].reference}", flush=True)
    for side in sides:
        side.process.wait()
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=15, help="timed ones of each kind")
    parser.add_argument("--json", type=Path, default=RESULTS / "detector_speed.json")
    parser.add_argument("--who", nargs=2, help="internal: be one of the processes, of one network")
    options = parser.parse_args(arguments)
    if options.who:
        who, network = options.who
        (ours if who == "ours" else theirs)(network, options.side, options.batch, options.steps)
        return 0
    began_s, rows = time.monotonic(), []
    with tempfile.TemporaryDirectory() as cache:
        for network in NETWORKS:
            rows += rows_of(network, options, Path(cache))
    command, wall_s = "python -m benchmarks.detector_speed", time.monotonic() - began_s
    write_result(options.json, rows, command=command, seed=SEED, wall_s=wall_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
