"""Trains four detectors by their shipped recipes, on generated scenes and on blood cells, and sets them side by side.

On BCCD each starts from new weights (ResNet-18) and, where its package is installed, from the ImageNet features of
EfficientNet-Lite0. Each is trained by `unpool train` as a process of its own; one that was cut off goes on where it
was saved: call the command again. The milliseconds are those of an answer about one image of the set, decoded before.
Three to four hours on two cores without bfloat16.
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
from benchmarks.record import RESULTS, ROOT, Row, write_result
from unpool import load_recipe
from unpool.data.box_scenes import BoxScenes
from unpool.inspection.catalogue import GIGA
from unpool.inspection.cost import macs
from unpool.models.detection.two_stages import TwoStages
from unpool.ops.phases import median_seconds
from unpool.predictor.images import read_image

DETECTORS = ("fasterrcnn", "ssd", "retinanet", "yolo")
EPOCHS = {"fasterrcnn": 12, "ssd": 24, "retinanet": 16, "yolo": 18}  # on BCCD from features
SCENES_SIDE = 96
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
        return "EfficientNet-Lite0, ImageNet's features" if self.has_features else "ResNet-18, new weights"


TRAININGS = [
    *(Trained(detector, "scenes") for detector in DETECTORS),
    *(Trained(detector, "bccd", has_features) for has_features in (True, False) for detector in DETECTORS),
]


def run(one: Trained, data: Path, runs: Path) -> Metrics:
    root = [] if one.data == "scenes" else [f"data.root={data / BCCD}"]
    start = (*FEATURES, f"train.epochs={EPOCHS[one.detector]}") if one.has_features else ()
    return train(one.recipe, [*root, *start], runs / one.name)


class Whole(nn.Module):
    """Both stages on as many regions as an image has at most, for their multiply-adds."""

    def __init__(self, detector: TwoStages) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> Tensor:
        proposing = self.detector.practice.proposing
        maps = self.detector(image).maps
        regions = torch.zeros(proposing.most if proposing else 0, 4)
        return self.detector.classify(maps, [regions], (image.shape[2], image.shape[3])).scores


def size_of(run: Path) -> tuple[int, float]:
    """Parameters, and 10^9 multiply-adds of one image."""
    settings, network = load_recipe(run / "recipe.yaml"), unpool.load(run).model
    params = sum(p.numel() for p in network.parameters())
    height, width = settings.data.size or (SCENES_SIDE, SCENES_SIDE)
    whole = Whole(network) if isinstance(network, TwoStages) else network
    return params, macs(whole, (3, height, width)) / GIGA


def milliseconds(one: Trained, run: Path, data: Path) -> list[str]:
    """Of an answer by phase, about the first image of the set's validation part."""
    predictor = unpool.load(run, device="cpu")
    if one.data == "scenes":
        image = BoxScenes("val", count=1)[0]["image"]
    else:
        first = (data / BCCD / "ImageSets/Main/val.txt").read_text(encoding="utf-8").split()[0]
        image = read_image(data / BCCD / "JPEGImages" / f"{first}.jpg", predictor.decoding)
    seconds = median_seconds(lambda: predictor.predict(image), passes=PASSES)
    return [f"{1000 * seconds[name]:.1f}" if name in seconds else "" for name in PHASES]


def cells(one: Trained, metrics: Metrics, run: Path, data: Path) -> list[str]:
    params, gmacs = size_of(run)
    shares = [metrics["ap"], metrics["ap50"], *metrics["ap50_by_class"].values()]
    cost = [
        f"{params:,}",
        f"{gmacs:.2f}",
        f"{images_per_s(run / 'log.jsonl'):.1f}",
        f"{metrics['training']['time_s'] / 60:.1f}",
    ]
    return [one.recipe, one.start, *(f"{share:.3f}" for share in shares), *cost, *milliseconds(one, run, data)]


def row(one: Trained, metrics: Metrics) -> Row:
    trained = metrics["training"]
    seen = f"{trained['images_seen']:,} images in {trained['time_s'] / 60:.1f} min, {trained['precision']}"
    if one.data == "scenes":
        return Row(
            what=f"generated scenes, {one.detector}, {one.start}, AP at IoU 0.5 to 0.95",
            figure=f"{metrics['ap']:.4f} ({seen})",
            reference="at least 0.60",
        )
    figure = f"{metrics['ap50']:.4f} ({seen})"
    return Row(what=f"BCCD, {one.detector}, {one.start}, AP at IoU 0.5", figure=figure, reference="mark 0.80, aim 0.90")


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
