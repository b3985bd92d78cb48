"""Lets Mask R-CNN and Keypoint R-CNN learn 16 training images of a small COCO by heart, by their shipped recipes.

Both are the narrow networks on ResNet-18, from new weights, on images with a shorter side of 320. Trained and measured
on the same 16: AP at IoU 0.5 of masks of medium and large things (small ones, below 32x32 pixels, beside it), and
OKS-AP at 0.5. A training that was cut off goes on: call the command again.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import unpool
from benchmarks.accuracy import Metrics, train
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool.data.readers.coco_instances import CocoInstances
from unpool.ops.boxes import areas

IMAGES, ENOUGH = 16, 0.9
SMALL = 32**2  # pixels
RECIPES = {"coco_maskrcnn": "instances", "coco_keypointrcnn": "person_keypoints"}
NETWORKS = {"coco_maskrcnn": "maskrcnn", "coco_keypointrcnn": "keypointrcnn"}
OVERRIDES = (
    *("data.shorter=320", "data.longest=480", "data.order=shuffled", "data.augment=[]", "train.batch=4"),
    *("model.backbone=resnet18", "train.optimizer=adamw", "train.lr=1e-3", "train.schedule=onecycle"),
    *("train.clip_norm=5.0", "train.warmup_epochs=0", "train.milestones=[]", "data.allow_duplicates=true"),
)


def cut(data: Path, kind: str, folder: Path) -> Path:
    """The first images of the training set that have what is learned, as both parts of a set of their own."""
    stored = json.loads((data / "annotations" / f"{kind}_train2017.json").read_text(encoding="utf-8"))
    has_some = {one["image_id"] for one in stored["annotations"] if one.get("num_keypoints", 1)}
    images = sorted((one for one in stored["images"] if one["id"] in has_some), key=lambda one: one["id"])[:IMAGES]
    kept = {one["id"] for one in images}
    things = [one for one in stored["annotations"] if one["image_id"] in kept]
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for part in ("train2017", "val2017"):
        content = {**stored, "images": images, "annotations": things}
        (folder / "annotations" / f"{kind}_{part}.json").write_text(json.dumps(content), encoding="utf-8")
        if not (folder / part).exists():
            (folder / part).symlink_to(data / "train2017", target_is_directory=True)
    return folder


def by_size(run: Path, root: Path) -> dict[str, float | None]:
    """AP at IoU 0.5 of the masks of all things, and of those that are not small: small ones then need not be found."""
    predictor = unpool.load(run)
    reader = CocoInstances(root, "val", masks=True, classes=predictor.info.classes)
    counted = {"all": predictor.task.metric(), "medium and large": predictor.task.metric()}
    for index in range(len(reader)):
        sample = reader[index]
        record = predictor.predict(sample["image"])
        answer = {key: [torch.as_tensor(record[key])] for key in ("boxes", "labels", "score", "masks")}
        answer["boxes"] = [answer["boxes"][0].reshape(-1, 4)]
        batch: dict[str, Any] = {key: [value] for key, value in sample.items() if key != "image"}
        batch |= {"size_hw": torch.tensor([sample["image"].shape[-2:]]), "index": torch.tensor([index])}
        counted["all"].update(answer, batch)
        is_small = sample.get("areas", areas(sample["boxes"])) < SMALL
        counted["medium and large"].update(answer, batch | {"difficult": [is_small & ~sample["crowd"]]})
    return {name: metric.compute()["mask_ap50"] for name, metric in counted.items()}


def learned(recipe: str, data: Path, runs: Path, *, epochs: int) -> tuple[Metrics, Path]:
    root = cut(data, RECIPES[recipe], runs / f"coco_mini-{RECIPES[recipe]}")
    overrides = [*OVERRIDES, f"model.name={NETWORKS[recipe]}", f"train.epochs={epochs}", f"data.root={root}"]
    return train(recipe, [*overrides, f"train.evaluate_every={epochs}"], runs / f"coco_mini-{recipe}"), root


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.coco_mini", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    parser.add_argument("--only", nargs="+", default=list(RECIPES), choices=list(RECIPES), metavar="RECIPE")
    parser.add_argument("--epochs", type=int, default=120, help="of 4 steps each")
    parser.add_argument("--json", type=Path, default=RESULTS / "coco_mini.json")
    options = parser.parse_args(arguments)
    rows, spent_s, reached = [], 0.0, []
    runs = options.runs.absolute()
    for recipe in options.only:
        metrics, root = learned(recipe, options.data.absolute() / "coco_mini", runs, epochs=options.epochs)
        spent_s += metrics["training"]["time_s"]
        if recipe == "coco_maskrcnn":
            shares = by_size(runs / f"coco_mini-{recipe}", root)
            reached.append(shares["medium and large"])
            figure = ", ".join(f"{name} {share:.3f}" for name, share in shares.items() if share is not None)
            what = "Mask R-CNN, 16 images of COCO by heart at a shorter side of 320, mask AP at IoU 0.5"
        else:
            reached.append(metrics["oks_ap50"])
            figure, what = f"{metrics['oks_ap50']:.3f}", "Keypoint R-CNN, 16 images of COCO by heart, OKS-AP at 0.5"
        rows.append(Row(what=what, figure=figure, reference=f"at least {ENOUGH}"))
        print(f"{what}: {figure}, {metrics['training']['time_s'] / 60:.1f} min", flush=True)
        write_result(options.json, rows, command="python -m benchmarks.coco_mini --data DATA", seed=0, wall_s=spent_s)
    return int(any((one or 0) < ENOUGH for one in reached))


if __name__ == "__main__":
    sys.exit(main())
