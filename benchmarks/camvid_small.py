"""Trains six networks on CamVid at 160x120 by their shipped recipes and sets them side by side; half an hour in all.

Each is trained by `unpool train` as a process of its own, on 4,000 images, and evaluated on the 101 of the validation
split. A run that was cut off goes on where it was saved: call the command again. What the same networks would cost at
full size is timed by `benchmarks.full_size`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.accuracy import Metrics, train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool import load_recipe
from unpool.inspection.catalogue import GIGA
from unpool.inspection.cost import macs
from unpool.models import build

RECIPES = {
    "FRRN-A": "camvid_frrn",
    "DeepLabv3-ResNet18": "camvid_deeplabv3",
    "PSPNet-ResNet18": "camvid_pspnet",
    "FPN-ResNet18": "camvid_fpn",
    "U-Net-ResNet18": "camvid_unet_small",
    "SegNet": "camvid_segnet",
}
LEAST = 0.22
REFERENCE = "at least 0.22; most frequent class a pixel 0.167"


@dataclass(frozen=True)
class Trained:
    """One network: what it is, and what its run gave."""

    name: str
    recipe: str
    params: int
    gmacs: float
    images_per_s: float
    metrics: Metrics

    @property
    def iou(self) -> dict[str, float]:
        return {name: value for name, value in self.metrics["iou"].items() if value is not None}

    def cells(self) -> list[str]:
        measured = [f"{self.metrics[name]:.4f}" for name in ("mean_iou", "pixel_accuracy")]
        cost = [
            f"{self.params:,}",
            f"{self.gmacs:.2f}",
            f"{self.images_per_s:.1f}",
            f"{self.metrics['training']['time_s'] / 60:.1f}",
        ]
        return [self.name, *measured, *cost, *(f"{value:.3f}" for value in self.iou.values())]


def prove(name: str, data: Path, runs: Path) -> Trained:
    """Trains one network, or reads what its finished run gave."""
    recipe = RECIPES[name]
    run = runs / f"camvid_small-{recipe}"
    metrics = train(recipe, [f"data.root={data}"], run)
    params, gmacs = size_of(recipe, len(metrics["iou"]))
    return Trained(name, recipe, params, gmacs, images_per_s(run / "log.jsonl"), metrics)


def size_of(recipe: str, num_classes: int) -> tuple[int, float]:
    """Parameters, and 10^9 multiply-adds of one image."""
    settings = load_recipe(recipe)
    network = build(
        settings.model.name, backbone=settings.model.backbone, num_classes=num_classes, **settings.model.options
    )
    height, width = settings.data.size
    return sum(p.numel() for p in network.parameters()), macs(network, (3, height, width)) / GIGA


def images_per_s(log: Path) -> float:
    """Median over the lines of the log: the first steps and the evaluations do not count."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return median(line["images_per_s"] for line in lines if line["kind"] == "step")


def table(trained: Sequence[Trained]) -> list[list[str]]:
    head = ["network", "mean IoU", "pixel accuracy", "parameters", "GMACs", "images/s", "minutes", *trained[0].iou]
    return [head, *(one.cells() for one in trained)]


def row_of(one: Trained) -> Row:
    seen = f"{one.metrics['training']['images_seen']:,} images seen, {one.metrics['training']['precision']}"
    return Row(what=f"{one.name}, mean IoU", figure=f"{one.metrics['mean_iou']:.4f} ({seen})", reference=REFERENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.camvid_small", description=__doc__)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "camvid", help="folder of CamVid"
    )
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    options = parser.parse_args(arguments)
    trained = []
    for name in RECIPES:
        trained.append(prove(name, options.data.absolute(), options.runs))
        print("  ".join(trained[-1].cells()), flush=True)
    spent_s = sum(one.metrics["training"]["time_s"] for one in trained)
    details: dict[str, Any] = {"recipes": RECIPES}
    write_result(
        RESULTS / "camvid_small.json",
        [row_of(one) for one in trained],
        command="python -m benchmarks.camvid_small",
        seed=0,
        wall_s=spent_s,
        details=details,
        table=table(trained),
    )
    return int(any(one.metrics["mean_iou"] < LEAST for one in trained))


if __name__ == "__main__":
    sys.exit(main())
