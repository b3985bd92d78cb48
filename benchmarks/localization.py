"""Trains localizers on three sets of photographs with one thing each, and the parts of birds by the same head.

Each is trained by `unpool train` as a process of its own, in under ten minutes on two cores; one that was cut off goes
on where it was saved: call the command again. With one box for all classes and with one of each, from the ImageNet
features of EfficientNet-Lite0 (an installed package); with the first also a ResNet-18 from new weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.accuracy import Metrics, train
from benchmarks.record import RESULTS, ROOT, Row, write_result

FEATURES = (
    "model.backbone=timm/efficientnet_lite0",
    "model.weights=efficientnet_lite0",
    "data.mean=[0.498,0.498,0.498]",
    "data.std=[0.502,0.502,0.502]",
)
BOXES = {"one box for all classes": "localizer", "a box of each class": "localizer_per_class"}
EPOCHS = {"caltech_localizer": 8, "fruitveg_localizer": 25, "cub_localizer": 25, "cub_parts": 40}  # from features
SETS = {"caltech_localizer": "caltech101_loc3", "fruitveg_localizer": "fruitveg_loc", "cub_localizer": "cub200_10"}
PARTS = "cub_parts"


class Trained(NamedTuple):
    """One training: its recipe, its set, its network, and whether it starts from ImageNet's features."""

    recipe: str
    data: str
    network: str
    has_features: bool = True

    @property
    def name(self) -> str:
        return "-".join(("localization", self.recipe, self.network, "features" if self.has_features else "new"))


def trainings() -> list[Trained]:
    """Every training of the table, those from features first."""
    found = [Trained(recipe, data, network) for recipe, data in SETS.items() for network in BOXES.values()]
    found.append(Trained(PARTS, "cub200_10", "joint_regression"))
    return [*found, *(Trained(recipe, data, "localizer", has_features=False) for recipe, data in SETS.items())]


def run(one: Trained, data: Path, runs: Path) -> Metrics:
    start = (*FEATURES, f"train.epochs={EPOCHS[one.recipe]}") if one.has_features else ()
    return train(one.recipe, [f"data.root={data / one.data}", f"model.name={one.network}", *start], runs / one.name)


def row(one: Trained, metrics: Metrics) -> Row:
    """Mean IoU and success of the last weights, or the share of right parts."""
    trained = metrics["training"]
    start = "EfficientNet-Lite0 with ImageNet's features" if one.has_features else "ResNet-18, new weights"
    seen = f"{trained['images_seen']:,} images in {trained['time_s'] / 60:.1f} min, {trained['precision']}"
    if one.recipe == PARTS:
        figure = (
            f"PCK at 0.2 of the bird {metrics['pck_person@0.2']:.4f}, mean error {metrics['mean_error']:.1f} pixels"
        )
        return Row(what=f"{one.data}, 15 parts, {start}", figure=f"{figure} ({seen})")
    kind = next(words for words, network in BOXES.items() if network == one.network)
    figure = ", ".join(f"{words} {metrics[key]:.4f}" for key, words in SHOWN.items())
    trivial = f"success of the mean box and the most frequent class {metrics['baseline']['value']:.4f}"
    return Row(what=f"{one.data}, {kind}, {start}", figure=f"{figure} ({seen})", reference=trivial)


SHOWN = {
    "mean_iou": "mean IoU",
    "success_top1": "success",
    "success": "success with the class in the top 5",
    "top1": "accuracy",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.localization", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "proofs", help="where the runs are kept")
    options = parser.parse_args(arguments)
    rows, spent_s, details = [], 0.0, {}
    for one in trainings():
        metrics = run(one, options.data.absolute(), options.runs.absolute())
        rows.append(row(one, metrics))
        print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
        spent_s += metrics["training"]["time_s"]
        details[one.name] = {key: metrics[key] for key in (*SHOWN, "pck_person@0.2", "mean_error") if key in metrics}
        command = "python -m benchmarks.localization --data DATA"
        result = RESULTS / "localization.json"
        write_result(result, rows, command=command, seed=0, wall_s=spent_s, details=details)
    return 0


if __name__ == "__main__":
    sys.exit(main())
