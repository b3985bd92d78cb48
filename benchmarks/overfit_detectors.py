"""Lets every detector learn four generated scenes by heart: AP at IoU 0.5 of 0.95 within 400 steps.

Of one that gives masks it is that of masks, and of one that gives joints OKS-AP at 0.5 of people drawn by rule.

Each row is trained with Adam on one batch of all four images, backbones being narrow and weights new, and measured on
the same four in evaluation mode, every 50 steps. Rows of the papers' size share the modules of the small ones.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.record import Row, write_result
from unpool import models
from unpool.data.box_scenes import BoxScenes
from unpool.data.figures import Figures
from unpool.data.proposals import make_proposer
from unpool.layers.initializations import He
from unpool.tasks.detection import Detection
from unpool.tasks.instances import Instances
from unpool.tasks.people_in_boxes import PeopleInBoxes
from unpool.training.step import total_loss
from unpool.types import Batch, Reader

IMAGES, STEPS, EVERY, ENOUGH = 4, 400, 50, 0.95
ROWS = {
    "fasterrcnn": {"backbone": "resnet18", "width": 32, "neck_width": 64},
    "ssd": {"backbone": "resnet18", "width": 32},
    "retinanet": {"backbone": "resnet18", "width": 32, "neck_width": 64},
    "yolo": {"backbone": "resnet18", "width": 32, "neck_width": 64, "grid": (6, 6), "output_stride": 16},
    "fastrcnn": {"backbone": "resnet18", "width": 32, "neck_width": 64},
    "rcnn": {"width": 24, "init": He()},
    "maskrcnn": {"backbone": "resnet18", "width": 32, "neck_width": 64},
    "keypointrcnn": {"backbone": "resnet18", "width": 32, "neck_width": 64},
}


class Learning(NamedTuple):
    """What a kind of network learns: images, task, and the metric that is to reach `ENOUGH`."""

    images: Callable[[int], Reader]
    task: type[Detection]
    metric: str


_BOXES = Learning(lambda side: BoxScenes(None, "train", count=IMAGES, side=side), Detection, "ap50")
LEARNING = {
    "boxes": _BOXES,
    "boxes_of_proposals": _BOXES,
    "boxes_and_masks": Learning(
        lambda side: BoxScenes(None, "train", count=IMAGES, side=side, masks=True), Instances, "mask_ap50"
    ),
    "boxes_and_joints": Learning(
        lambda side: Figures(None, "train", count=IMAGES, side=side, people=2), PeopleInBoxes, "oks_ap50"
    ),
}
GRID = {"grid": {"sides": [22, 22, 28, 28, 34, 34, 42, 42], "step": 0.25}}  # given regions of those that read some


@dataclass(frozen=True)
class Learned:
    """What one detector reached: AP at IoU 0.5, and after how many steps."""

    name: str
    params: int
    ap50: float
    steps: int
    wall_s: float

    @property
    def passes(self) -> bool:
        return self.ap50 >= ENOUGH


def overfit(name: str, *, side: int = 96, steps: int = STEPS) -> Learned:
    """Trains a row of `ROWS` until it passes or the steps are over."""
    torch.manual_seed(0)
    started = time.monotonic()
    kind = LEARNING[models.row_of(name).gives]
    images = kind.images(side)
    task, batch = kind.task(images.info), _batch(images)
    network = models.build(name, num_classes=task.outputs, **ROWS[name])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    params, ap50, step = sum(p.numel() for p in network.parameters()), 0.0, 0
    for step in range(1, steps + 1):
        torch.manual_seed(step)
        network.train()
        total_loss(task.losses(network, batch)).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % EVERY == 0 and (ap50 := _measured(network, task, batch)[kind.metric]) >= ENOUGH:
            break
    return Learned(name, params, ap50, step, time.monotonic() - started)


def _batch(images: Reader) -> Batch:
    samples = [images[number] for number in range(len(images))]
    image = torch.stack([sample["image"] for sample in samples]).float() / 64 - 2
    sizes = torch.tensor([one.shape[-2:] for one in image])
    lists = {key: [sample[key] for sample in samples] for key in images.gives if key != "image"}
    lists["proposals"] = [make_proposer(GRID).propose(sample["image"], "") for sample in samples]
    return {"image": image, "size_hw": sizes, "index": torch.arange(len(samples)), **lists}


@torch.inference_mode()
def _measured(network: torch.nn.Module, task: Detection, batch: Batch) -> dict[str, Any]:
    network.eval()
    metric = task.metric()
    metric.update(task.answer(network, batch), batch)
    return metric.compute()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.overfit_detectors", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(ROWS), choices=list(ROWS), metavar="NETWORK")
    parser.add_argument("--json", type=Path, help="also write what was reached here")
    options = parser.parse_args(arguments)
    started, shown = time.monotonic(), []
    for name in options.only:
        one = overfit(name)
        shown.append(one)
        print(
            f"{one.name:12} AP50 {one.ap50:.3f} after {one.steps} steps, {one.params:,} parameters, {one.wall_s:.0f} s"
        )
    if options.json:
        rows = [
            Row(
                what=f"{one.name}, AP at IoU 0.5 on four scenes learned",
                figure=f"{one.ap50:.3f}",
                reference=f"{ENOUGH}",
            )
            for one in shown
        ]
        command = shlex.join(["python", "-m", "benchmarks.overfit_detectors", *(arguments or sys.argv[1:])])
        details = {"networks": [asdict(one) for one in shown]}
        write_result(options.json, rows, command=command, seed=0, wall_s=time.monotonic() - started, details=details)
    return int(not all(one.passes for one in shown))


if __name__ == "__main__":
    sys.exit(main())
