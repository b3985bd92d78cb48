"""Transfer to few images: 1, 2, 6, 20 and all a class, from scratch, from CIFAR-10's and from ImageNet's features.

Ants and bees (hymenoptera), and ten birds (cub200_10). With fixed features a linear classifier is fitted in closed
form on fifteen draws of the images, the same for all networks; the last stages, or all, are trained on three of them,
at a tenth of the rate behind a new last layer. Scores are top-1 of the last weights on all validation images.
CIFAR-10's features are those of a run of cifar10_resnet20 (--cifar), ImageNet's of EfficientNet-Lite0 (`make
weights`). Hours in all: a call goes on where the one before was stopped.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

import unpool
from benchmarks.record import RESULTS, ROOT, Row, write_result
from benchmarks.series import drawn, shown, trained
from unpool.data.readers.folder import Folder
from unpool.ops.linear_classifiers import fit_linear

SETS = ("hymenoptera", "cub200_10")
EACH = (1, 2, 6, 20, None)
DRAWS, TRAINED_DRAWS = 15, 3
EPOCH = 240  # images; those of a smaller draw are repeated to about as many


class Start(NamedTuple):
    """What training starts from: its recipe, and its first stages, which are frozen where the last ones train."""

    recipe: str
    first_stages: tuple[str, ...] = ()

    def overrides(self, way: str) -> tuple[str, ...]:
        frozen = f"model.frozen=[{', '.join(self.first_stages)}]"
        return (frozen,) if way == "last stages" else ()

    @property
    def ways(self) -> tuple[str, ...]:
        return ("fixed", "last stages", "all") if self.first_stages else ("all",)


STARTS = {
    "from scratch": Start("hymenoptera_resnet18"),
    "CIFAR-10's features": Start(
        "hymenoptera_cifar_resnet20", ("backbone.stem", "backbone.stages.0", "backbone.stages.1")
    ),
    "ImageNet's features": Start(
        "hymenoptera_efficientnet_lite0", ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(5)))
    ),
}
MARK = {("hymenoptera", "ImageNet's features"): "fixed 57, 72, 87, 93, 93.5 %; fine-tuned aims at 96 %"}


def class_folders(data: Path, name: str, folder: Path) -> Path:
    """The set as one folder a class in each split; that of CUB is copied into `folder`."""
    if name != "cub200_10":
        return data / name
    if not (folder / "val").is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        lines = {file: (data / name / file).read_text(encoding="utf-8").split() for file in _CUB}
        paths, is_training = (dict(zip(words[::2], words[1::2], strict=True)) for words in lines.values())
        for number, path in paths.items():
            _copy(data / name / "images" / path, part / ("train" if is_training[number] == "1" else "val") / path)
        part.rename(folder)
    return folder


_CUB = ("images.txt", "train_test_split.txt")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


class Drawn(NamedTuple):
    """The training images by class, of which some are drawn."""

    root: Path
    reader: Folder

    @classmethod
    def of(cls, root: Path) -> "Drawn":
        return cls(root, Folder(root, "train"))

    @property
    def labels(self) -> list[int]:
        return [int(self.reader.targets(i)["label"]) for i in range(len(self.reader))]

    def names(self, each: int | None, draw: int) -> list[str]:
        return [self.reader.names[i] for i in drawn(self.labels, each, draw)]

    def amounts(self) -> list[int | None]:
        """Those that every class has more than, and all."""
        least = int(torch.tensor(self.labels).bincount().min())
        return [each for each in EACH if each is None or each < least]

    def folder(self, each: int | None, draw: int, folder: Path) -> Path:
        """A folder with the drawn images, and all of validation."""
        if each is None:
            return self.root
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            for i in drawn(self.labels, each, draw):
                (source,) = self.reader.files(i)
                _copy(source, part / "train" / source.parent.name / source.name)
            shutil.copytree(self.root / "val", part / "val")
            part.rename(folder)
        return folder


def fixed(start: Start, images: Drawn, draws: int, overrides: Sequence[str]) -> dict[int | None, list[float]]:
    """Accuracy on validation of linear classifiers on fixed features, by images a class."""
    given = [*overrides, f"data.root={images.root}"]
    seen, val = (unpool.features(start.recipe, given, split=split) for split in ("train", "val"))
    row_of = {name: row for row, name in enumerate(seen.names)}
    scores: dict[int | None, list[float]] = {}
    for each in images.amounts():
        for draw in range(draws if each else 1):
            rows = [row_of[name] for name in images.names(each, draw)]
            fit = fit_linear(seen.values[rows], seen.labels[rows], num_classes=len(seen.classes))
            answer = (val.values @ fit.weight.T + fit.bias).argmax(1)
            scores.setdefault(each, []).append(float((answer == val.labels).double().mean()))
    return scores


def fine_tuned(
    start: Start, way: str, images: Drawn, draws: int, overrides: Sequence[str], *, name: str, runs: Path
) -> tuple[dict[int | None, list[float]], float]:
    """Accuracy on validation after training, by images a class, and the seconds that the trainings took."""
    scores: dict[int | None, list[float]] = {}
    spent_s = 0.0
    for each in images.amounts():
        for draw in range(draws):
            count = len(images.names(each, draw))
            repeat = f"data.repeat={max(1, round(EPOCH / count))}"
            root = images.folder(each, draw, runs / "sets" / f"{name}-{each}-{draw}")
            kept = runs / f"{name}-{each or 'all'}-{draw}"
            given = [*overrides, *start.overrides(way), repeat]
            ended = trained(start.recipe, given, root=root, runs=kept, seed=draw)
            scores.setdefault(each, []).append(ended.score("top1"))
            spent_s += ended.metrics["training"]["time_s"] if ended.metrics else 0.0
            print(f"{name}, {start.recipe}, {way}, {each or 'all'} a class: {scores[each]}", flush=True)
    return scores, spent_s


def row(name: str, begun: str, found: dict[str, dict[int | None, list[float]]]) -> Row:
    """The curve of each way to train, one line a start."""
    amounts = [str(each or "all") for each in next(iter(found.values()))]
    curves = [
        f"{way}: {', '.join(shown(values, digits=1, unit='') for values in scores.values())}"
        for way, scores in found.items()
    ]
    what = f"{name}, {begun}, {', '.join(amounts)} images a class, top-1 in %"
    return Row(what=what, figure="; ".join(curves), reference=MARK.get((name, begun), ""))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.few_images", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="such as 'hymenoptera ImageNet'")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of all data sets")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "few_images", help="where the runs are kept")
    parser.add_argument(
        "--cifar", type=Path, default=ROOT / "runs" / "proofs" / "cifar10_resnet20-run", help="run of cifar10_resnet20"
    )
    parser.add_argument("--draws", type=int, nargs=2, default=(DRAWS, TRAINED_DRAWS), metavar=("FIXED", "TRAINED"))
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="further overrides of every training")
    options = parser.parse_args(arguments)
    data, runs = options.data.absolute(), options.runs.absolute()
    asked = [(name, begun) for name in SETS for begun in STARTS if _is_asked(f"{name} {begun}", options.only)]
    if not asked:
        parser.error(f"--only {' '.join(options.only)} is in none of: {', '.join(SETS)} with {', '.join(STARTS)}")
    rows, spent_s, details = [], 0.0, {}
    for name, begun in asked:
        start, images = STARTS[begun], Drawn.of(class_folders(data, name, runs / name))
        weights = [f"model.weights={options.cifar.absolute() / 'model.safetensors'}"] if "CIFAR" in begun else []
        given, found = [*weights, *options.set], {}
        for way in start.ways:
            if way == "fixed":
                found[way] = fixed(start, images, options.draws[0], given)
            else:
                found[way], seconds = fine_tuned(start, way, images, options.draws[1], given, name=name, runs=runs)
                spent_s += seconds
        rows.append(row(name, begun, found))
        print(f"{rows[-1].what}: {rows[-1].figure}", flush=True)
        details[f"{name}, {begun}"] = {
            way: {str(each or "all"): values for each, values in scores.items()} for way, scores in found.items()
        }
    is_whole = options.only == [""] and not options.set and tuple(options.draws) == (DRAWS, TRAINED_DRAWS)
    result = (RESULTS if is_whole else runs) / "few_images.json"
    command = "python -m benchmarks.few_images --data DATA --cifar RUN"
    write_result(result, rows, command=command, seed=None, wall_s=spent_s, details=details)
    return 0


def _is_asked(what: str, texts: Sequence[str]) -> bool:
    return any(all(word in what for word in text.split()) for text in texts)


if __name__ == "__main__":
    sys.exit(main())
