"""R-CNN on blood cells in its two steps, fine-tuning and machines, and what it answers about some images.

Proposals of 300 regions an image take so long that it is measured on a part of the validation images, evenly spread.
`benchmarks.detectors` sets it beside the detectors that came after it.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch

import unpool
from benchmarks.accuracy import Metrics, train
from unpool.assemble.data import make_reader
from unpool.predictor.predictor import evaluating
from unpool.recipe import load_run_recipe

FIRST, SECOND = "bccd_rcnn", "bccd_rcnn_svm"
IMAGES = 30


def run_rcnn(root: Path, runs: Path) -> Path:
    """Trains the network, and fits machines to its features; each step that was done is kept."""
    first, run, clock = runs / f"detectors-{FIRST}", runs / f"detectors-{SECOND}", runs / f"detectors-{SECOND}.seconds"
    train(FIRST, [f"data.root={root}"], first)
    if not clock.is_file():
        shutil.rmtree(run, ignore_errors=True)
        began = time.monotonic()
        weights = f"model.weights={first / 'model.safetensors'}"
        unpool.probe(SECOND, [f"data.root={root}", weights], by="svm", run=run)
        clock.write_text(str(time.monotonic() - began), encoding="utf-8")
    return run


def metrics_of(run: Path) -> Metrics:
    """The metrics on `IMAGES` validation images, with the time of both steps, as those that a training leaves."""
    first = run.with_name(f"detectors-{FIRST}")
    trained: dict[str, Any] = json.loads((first / "metrics.json").read_text(encoding="utf-8"))["training"]
    seconds = float(run.with_name(f"{run.name}.seconds").read_text(encoding="utf-8"))
    return {**_measured(run), "training": {**trained, "time_s": trained["time_s"] + seconds}}


@torch.inference_mode()
def _measured(run: Path) -> dict[str, Any]:
    predictor = unpool.load(run, device="cpu")
    reader = make_reader(load_run_recipe(run), "val", classes=predictor.info.classes)
    metric = predictor.task.metric()
    with evaluating(predictor.model, predictor.task):
        for number in range(IMAGES):
            index = round(number * (len(reader) - 1) / (IMAGES - 1))
            sample = reader[index]
            size_hw = (sample["image"].shape[-2], sample["image"].shape[-1])
            inputs = predictor.inputs(sample["image"], size_hw)
            prediction = predictor.task.decode(predictor.task.forward(predictor.model, inputs), inputs)
            known = {"size_hw": torch.tensor([size_hw]), "index": torch.tensor([index])}
            metric.update(prediction, {key: [value] for key, value in sample.items()} | known)
    return metric.compute()
