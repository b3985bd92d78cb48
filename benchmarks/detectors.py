"""Trains detectors by their shipped recipes, on generated scenes and on blood cells, and sets them side by side.

On BCCD each starts from new weights: ResNet-18, and AlexNet for R-CNN, which is measured on 30 images. Where its
package is installed, three start from the ImageNet features of EfficientNet-Lite0, too. Each is trained by `unpool
train` as a process of its own; one that was cut off goes on where it was saved: call the command again. The
milliseconds are those of an answer about one image of the set, decoded before. Five to six hours on two cores without
bfloat16.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import unpool
from benchmarks.accuracy import Metrics, train
from benchmarks.camvid_small import images_per_s
from benchmarks.localization import FEATURES
from benchmarks.rcnn import FIRST, IMAGES, SECOND, metrics_of, run_rcnn
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool import load_recipe
from unpool.data.box_scenes import BoxScenes
from unpool.inspection.catalogue import GIGA
from unpool.inspection.cost import macs
from unpool.ops.phases import median_seconds
from unpool.predictor.images import read_image

SCENES = ("fasterrcnn", "ssd", "retinanet", "yolo", "maskrcnn")
EPOCHS = {"fasterrcnn": 12, "ssd": 24, "retinanet": 16}  # on BCCD from features
SCENES_SIDE = 96
CELLS = ("fasterrcnn", "ssd", "retinanet", "yolo", "maskrcnn", "fastrcnn")
BCCD = "bccd/BCCD"  # folder of the set
PHASES = ("backbone", "proposals", "head", "nms", "rest", "total")
PASSES = 9  # of the clock
HEAD = [
    *("recipe", "start", "AP at 0.5 to 0.95", "AP at 0.5", "disc / Platelets", "square / RBC", "triangle / WBC"),
    *("parameters", "GMACs", "images/s", "minutes"),
    *(f"ms {name}" for name in PHASES),
]


class Trained(NamedTuple):
    """One training: its detector, its set, and whether it starts from ImageNet's features."""

    detector: str
    data: str
    has_features: bool = False

    @property
    def recipe(self) -> str:
        return f"{self.data}_{self.detector}"

    @property
    def name(self) -> str:
        return f"detectors-{self.recipe}" + ("-features" if self.has_features else "")

    @property
    def start(self) -> str:
        if self.is_rcnn:
            return "AlexNet, new weights"
        return "EfficientNet-Lite0, ImageNet's features" if self.has_features else "ResNet-18, new weights"

    @property
    def is_rcnn(self) -> bool:
        return self.recipe == SECOND


TRAININGS = [
    *(Trained(detector, "scenes") for detector in SCENES),
    *(Trained(detector, "bccd", has_features=True) for detector in EPOCHS),
    *(Trained(detector, "bccd") for detector in CELLS),
    Trained("rcnn_svm", "bccd"),
]


def run(one: Trained, data: Path, runs: Path) -> Metrics:
    if one.is_rcnn:
        return metrics_of(run_rcnn(data / BCCD, runs))
    root = [] if one.data == "scenes" else [f"data.root={data / BCCD}"]
    start = (*FEATURES, f"train.epochs={EPOCHS[one.detector]}") if one.has_features else ()
    return train(one.recipe, [*root, *start], runs / one.name)


class Whole(nn.Module):
    """Both stages on as many regions as an image has at most, for their multiply-adds; masks are not counted."""

    def __init__(self, detector: nn.Module, regions: int) -> None:
        super().__init__()
        self.detector = detector
        self.regions = regions

    def forward(self, image: Tensor) -> Tensor:
        maps = self.detector(image).maps
        regions = torch.tensor([[0.0, 0.0, 32.0, 32.0]]).repeat(self.regions, 1)
        return self.detector.classify(maps, [regions], (image.shape[2], image.shape[3])).scores


def size_of(run: Path) -> tuple[int, float]:
    """Parameters, and 10^9 multiply-adds of one image."""
    settings, network = load_recipe(run / "recipe.yaml"), unpool.load(run).model
    params = sum(p.numel() for p in network.parameters())
    height, width = settings.data.size or (SCENES_SIDE, SCENES_SIDE)
    given = next(iter(settings.data.proposals.values()))["most"] if settings.data.proposals else None
    regions = given or getattr(network.practice.proposing, "most", None)
    whole = Whole(network, regions) if regions else network
    return params, macs(whole, (3, height, width)) / GIGA


def milliseconds(one: Trained, run: Path, data: Path) -> list[str]:
    """Of an answer by phase, about the first image of the set's validation part."""
    predictor = unpool.load(run, device="cpu")
    if one.data == "scenes":
        image = BoxScenes(split="val", count=1)[0]["image"]
    else:
        first = (data / BCCD / "ImageSets/Main/val.txt").read_text(encoding="utf-8").split()[0]
        image = read_image(data / BCCD / "JPEGImages" / f"{first}.jpg", predictor.decoding)
    seconds = median_seconds(lambda: predictor.predict(image), passes=PASSES)
    return [f"{1000 * seconds[name]:.1f}" if name in seconds else "" for name in PHASES]


def cells(one: Trained, metrics: Metrics, run: Path, data: Path) -> list[str]:
    params, gmacs = size_of(run)
    log = (run.with_name(f"detectors-{FIRST}") if one.is_rcnn else run) / "log.jsonl"
    shares = [metrics["ap"], metrics["ap50"], *metrics["ap50_by_class"].values()]
    cost = [
        f"{params:,}",
        f"{gmacs:.2f}",
        f"{images_per_s(log):.1f}",
        f"{metrics['training']['time_s'] / 60:.1f}",
    ]
    return [one.recipe, one.start, *(f"{share:.3f}" for share in shares), *cost, *milliseconds(one, run, data)]


def row(one: Trained, metrics: Metrics) -> Row:
    trained = metrics["training"]
    seen = f"{trained['images_seen']:,} images in {trained['time_s'] / 60:.1f} min, {trained['precision']}"
    if one.data == "scenes":
        key, kind, mark = ("mask_ap", "mask AP", 0.55) if "mask_ap" in metrics else ("ap", "AP", 0.60)
        reference = "stated" if one.detector == "yolo" else f"at least {mark:.2f}"
        what = f"generated scenes, {one.detector}, {one.start}, {kind} at IoU 0.5 to 0.95"
        return Row(what=what, figure=f"{metrics[key]:.4f} ({seen})", reference=reference)
    figure = f"{metrics['ap50']:.4f} ({seen})"
    images = f"{IMAGES} images, " if one.is_rcnn else ""
    what = f"BCCD, {one.detector}, {one.start}, {images}AP at IoU 0.5"
    return Row(what=what, figure=figure, reference="mark 0.80, aim 0.90" if one.detector in EPOCHS else "stated")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.detectors", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    options = parser.parse_args(arguments)
    rows, spent_s, table = [], 0.0, [HEAD]
    for one in TRAININGS:
        metrics = run(one, options.data.absolute(), options.runs.absolute())
        rows.append(row(one, metrics))
        print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
        spent_s += metrics["training"]["time_s"]
        table.append(cells(one, metrics, options.runs / one.name, options.data))
        command = "python -m benchmarks.detectors --data DATA"
        write_result(RESULTS / "detectors.json", rows, command=command, seed=0, wall_s=spent_s, table=table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
