"""Trains the networks that RESULTS.md makes claims about, by the command line a user would type; hours in all.

Each proof is one or more runs of `unpool train` as processes of their own. A run that was cut off goes on where it was
saved: call the command again.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.record import RESULTS, ROOT, Row, write_result

UNPOOL = [sys.executable, "-m", "unpool"]
Metrics = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One claim.

    Attributes:
        recipe: shipped recipe.
        data: folder below the folder of all data sets; None where the recipe makes its own.
        runs: overrides of each run, by a short name.
        rows: metrics of every run -> rows of the result.
    """

    recipe: str
    data: str | None
    rows: Callable[[dict[str, Metrics]], list[Row]]
    runs: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"run": ()})


def _training(metrics: Metrics) -> str:
    run = metrics["training"]
    return f"{run['time_s'] / 60:.1f} min, {run['images_seen']:,} images seen, {run['precision']}"


def _segmentation(reference: str) -> Callable[[dict[str, Metrics]], list[Row]]:
    def rows(runs: dict[str, Metrics]) -> list[Row]:
        (metrics,) = runs.values()
        by_class = [f"{name} {value:.3f}" for name, value in metrics["iou"].items() if value is not None]
        return [
            Row(what="mean IoU, last weights", figure=f"{metrics['mean_iou']:.4f}", reference=reference),
            Row(what="pixel accuracy", figure=f"{metrics['pixel_accuracy']:.4f}"),
            Row(what="class accuracy", figure=f"{metrics['class_accuracy']:.4f}"),
            Row(what="IoU by class", figure=", ".join(by_class)),
            Row(what="training", figure=_training(metrics)),
        ]

    return rows


def _top1(reference: str) -> Callable[[dict[str, Metrics]], list[Row]]:
    def rows(runs: dict[str, Metrics]) -> list[Row]:
        what = f"top-1, mean of {len(runs)}" if len(runs) > 1 else "top-1"
        average = mean(metrics["top1"] for metrics in runs.values())
        by_run = [f"{name} {100 * metrics['top1']:.2f} %" for name, metrics in runs.items()]
        return [
            Row(what=what, figure=f"{100 * average:.2f} %", reference=reference),
            Row(what="top-1 by run", figure=", ".join(by_run)),
            Row(what="training by run", figure="; ".join(map(_training, runs.values()))),
        ]

    return rows


LECTURE = ("train.epochs=1", "train.schedule=constant", "train.lr=1e-3", "train.ema=null")
PRECISION_EPOCHS = "train.epochs=4"

PROOFS = {
    "demo": Proof(recipe="scenes_unet", data=None, rows=_segmentation("at least 0.85")),
    "camvid_unet": Proof(recipe="camvid_unet", data="camvid", rows=_segmentation("mark 0.56, aim 0.62")),
    "camvid_fcn8s": Proof(
        recipe="camvid_fcn8s", data="camvid", rows=_segmentation("at least 0.22; most frequent class a pixel 0.167")
    ),
    "mnist_lecture": Proof(
        recipe="mnist_convnet",
        data="mnist",
        runs={f"seed {seed}": (*LECTURE, f"train.seed={seed}") for seed in range(5)},
        rows=_top1("at least 98.40 %; the lecture shows 98.64 %"),
    ),
    "mnist_convnet": Proof(
        recipe="mnist_convnet",
        data="mnist",
        runs={f"seed {seed}": (f"train.seed={seed}",) for seed in range(3)},
        rows=_top1("at least 99.20 %"),
    ),
    "cifar10_resnet20": Proof(
        recipe="cifar10_resnet20", data="cifar10_jpeg", rows=_top1("mark 87.0 %, aim 88.5 %; jpeg copies of CIFAR-10")
    ),
    "cifar10_resnet56": Proof(recipe="cifar10_resnet56", data="cifar10_jpeg", rows=_top1("jpeg copies of CIFAR-10")),
    "cifar10_resnet20_wide": Proof(
        recipe="cifar10_resnet20_wide", data="cifar10_jpeg", rows=_top1("90 % in the fewest minutes; jpeg copies")
    ),
    "camvid_unet_efficientnet_lite0": Proof(
        recipe="camvid_unet_efficientnet_lite0", data="camvid", rows=_segmentation("aim 0.70")
    ),
    "cifar10_precision": Proof(
        recipe="cifar10_resnet20",
        data="cifar10_jpeg",
        runs={
            f"{precision} seed {seed}": (PRECISION_EPOCHS, f"train.precision={precision}", f"train.seed={seed}")
            for seed in range(2)
            for precision in ("bfloat16", "float32")
        },
        rows=_top1("equal steps; bfloat16 and float32 within the noise of the seeds"),
    ),
}


def prove(name: str, data: Path, runs: Path) -> None:
    """Trains what the proof needs and writes benchmarks/results/<name>.json."""
    proof = PROOFS[name]
    started_s = time.monotonic()
    metrics_by_run = {}
    for label, overrides in proof.runs.items():
        root = [] if proof.data is None else [f"data.root={data / proof.data}"]
        run = runs / f"{name}-{label.replace(' ', '-')}"
        metrics_by_run[label] = train(proof.recipe, [*root, *overrides], run)
    spent_s = sum(metrics["training"]["time_s"] for metrics in metrics_by_run.values())
    rows = proof.rows(metrics_by_run)
    for row in rows:
        print(f"{row.what}: {row.figure}" + (f"  ({row.reference})" if row.reference else ""))
    command = f"python -m benchmarks.accuracy {name}"
    seed = 0 if len(proof.runs) == 1 else None
    wall_s = max(spent_s, time.monotonic() - started_s)
    write_result(RESULTS / f"{name}.json", rows, command=command, seed=seed, wall_s=wall_s)


def train(recipe: str, overrides: Sequence[str], run: Path, *, is_checked: bool = True) -> Metrics:
    """What metrics.json holds after `unpool train` as a process of its own; a run that was cut off goes on.

    Args:
        recipe: its name.
        overrides: key=value.
        run: the folder.
        is_checked: the quick checks before the first step are made, which end a run that is wrong.
    """
    if not (run / "metrics.json").is_file():
        begun = (run / "recipe.yaml").is_file()
        arguments = ["--resume", str(run)] if begun else [recipe, *overrides, "--run", str(run)]
        unchecked = [] if is_checked else ["--no-check"]
        subprocess.run([*UNPOOL, "train", *arguments, *unchecked], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    metrics: Metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def evaluate(run: Path, *arguments: str) -> Metrics:
    """What `unpool evaluate --json` prints for a run, as a process of its own."""
    command = [*UNPOOL, "evaluate", str(run), *arguments, "--json"]
    metrics: Metrics = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return metrics


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(PROOFS)}; all where none is given")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    options = parser.parse_args(arguments)
    for name in options.names or PROOFS:
        print(f"== {name}")
        prove(name, options.data.absolute(), options.runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
