"""The story of speed on blood cells: R-CNN, Fast R-CNN and Faster R-CNN, milliseconds an image by part.

R-CNN is trained in its two steps (`bccd_rcnn`, then `bccd_rcnn_svm` by probe) and Fast R-CNN by `bccd_fastrcnn`, each
by its shipped recipe; Faster R-CNN is a run of `benchmarks.detectors`, where there is one. Each answers the same images
of the validation set, evenly spread, one after the other; proposals are computed anew. A training that was cut off goes
on where it was saved: call the command again.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import unpool
from benchmarks.accuracy import train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.assemble.data import make_reader
from unpool.ops.phases import measured
from unpool.predictor import Predictor
from unpool.predictor.predictor import evaluating
from unpool.recipe import load_run_recipe

BCCD = "bccd/BCCD"
IMAGES = 30
PARTS = ("proposals", "backbone", "head", "nms", "rest")
HEAD = [
    *("detector", "images", "regions an image", "AP at 0.5", "minutes of training"),
    *(f"{part}, ms" for part in PARTS),
    "all, ms",
]


@torch.inference_mode()
def measure(run: Path, count: int) -> tuple[dict[str, float], float, float]:
    """Milliseconds an image by part and in all, AP at IoU 0.5, and regions an image, on `count` validation images."""
    predictor = unpool.load(run)
    reader = make_reader(load_run_recipe(run), "val", classes=predictor.info.classes)
    spread = [round(i * (len(reader) - 1) / max(1, count - 1)) for i in range(count)]
    metric, regions, spent = predictor.task.metric(), 0, dict.fromkeys(PARTS, 0.0)
    with evaluating(predictor.model, predictor.task):
        for index in spread:
            sample = reader[index]
            with measured() as seconds:
                prediction, number = answer(predictor, sample["image"])
            for part, value in seconds.items():
                spent[part] += value
            regions += number
            known = {"size_hw": torch.tensor([sample["image"].shape[-2:]]), "index": torch.tensor([index])}
            metric.update(prediction, {key: [value] for key, value in sample.items()} | known)
    parts = {part: 1000 * value / count for part, value in {**spent, "all": sum(spent.values())}.items()}
    return parts, float(metric.compute()["ap50"]), regions / count


def answer(predictor: Predictor, image: torch.Tensor) -> tuple[dict[str, Any], int]:
    """The prediction for an image, and of how many regions."""
    inputs = predictor.inputs(image, (image.shape[-2], image.shape[-1]))
    seen = predictor.task.forward(predictor.model, inputs)
    return predictor.task.decode(seen, inputs), len(seen.proposals[0])


def trained(name: str, data: Path, runs: Path, changes: Sequence[str]) -> tuple[Path, float]:
    """The run of a recipe, and the minutes that it took."""
    run = runs / f"regions-{name}"
    train(name, [f"data.root={data / BCCD}", *changes], run)
    return run, minutes_of(run)


def minutes_of(run: Path) -> float:
    """Minutes that the training of a run took."""
    seconds: float = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["training"]["time_s"]
    return seconds / 60


def fitted(first: Path, minutes: float, data: Path, runs: Path, changes: Sequence[str]) -> tuple[Path, float]:
    """The run of R-CNN's second step, and the minutes of both; one that was cut off begins anew."""
    run, clock, began = runs / "regions-bccd_rcnn_svm", runs / "regions-bccd_rcnn_svm.seconds", time.monotonic()
    if not clock.is_file():
        shutil.rmtree(run, ignore_errors=True)
        overrides = [*changes, f"data.root={data / BCCD}", f"model.weights={first / 'model.safetensors'}"]
        unpool.probe("bccd_rcnn_svm", overrides, by="svm", run=run)
        clock.write_text(str(time.monotonic() - began), encoding="utf-8")
    return run, minutes + float(clock.read_text(encoding="utf-8")) / 60


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.regions", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    parser.add_argument("--images", type=int, default=IMAGES, help="of the validation set")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of all recipes, such as train.epochs=1")
    parser.add_argument("--to", type=Path, default=RESULTS / "regions.json", help="the file of the result")
    options, began = parser.parse_args(arguments), time.monotonic()
    data, runs = options.data.absolute(), options.runs.absolute()
    train_one = partial(trained, data=data, runs=runs, changes=options.set)
    detectors = {
        "R-CNN": fitted(*train_one("bccd_rcnn"), data, runs, options.set),
        "Fast R-CNN": train_one("bccd_fastrcnn"),
    }
    faster = runs / "detectors-bccd_fasterrcnn"
    if (faster / "metrics.json").is_file():
        detectors["Faster R-CNN"] = (faster, minutes_of(faster))
    rows, table = [], [HEAD]
    for name, (run, minutes) in detectors.items():
        parts, ap50, regions = measure(run, options.images)
        shown = [f"{regions:.0f}", f"{ap50:.3f}", f"{minutes:.1f}", *(f"{ms:.0f}" for ms in parts.values())]
        table.append([name, str(options.images), *shown])
        what = f"BCCD, {name}, AP at IoU 0.5 on {options.images} images; milliseconds an image"
        rows.append(Row(what=what, figure=f"{ap50:.4f}; {parts['all']:.0f}"))
        print(f"{name}: {dict(zip(HEAD[2:], shown, strict=True))}", flush=True)
    command, wall_s = "python -m benchmarks.regions --data DATA", time.monotonic() - began
    write_result(options.to, rows, command=command, seed=0, wall_s=wall_s, table=table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
