"""Short runs of every recipe for folders and for generated data: is the validation loss near the training loss?

Each recipe trains 1, 2 and 3 epochs of 8 steps of 8 small generated images, with all else as shipped: warm-up,
schedule, augmentation, averaged weights. A run passes where the loss on the validation set is at most three times the
mean training loss of its last epoch, or where a note of the run said that the statistics of batch norm lag behind.
"""

import argparse
import json
import logging
import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

import unpool
from benchmarks.record import RESULTS, Row, write_result
from unpool.data.figures import Figures
from unpool.data.synthetic import Scenes

SEED, STEPS, BATCH, SEEN, SIDE = 0, 8, 8, 16, 64
EPOCHS = (1, 2, 3)
MOST = 3.0
FIXED: dict[str, Any] = {
    "train.batch": BATCH,
    "train.eval_batch": 1,
    "train.evaluate_every": 1,
    "train.seed": SEED,
    "train.device": "cpu",
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
    "data.workers": 0,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One recipe: the folder below the generated ones that it reads, or the people of its figures, and overrides."""

    folder: str = ""
    people: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Short:
    """What one run ended with: the mean training loss of its last epoch, the validation loss, and the run's note."""

    recipe: str
    epochs: int
    training: float
    validation: float
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.validation / self.training

    @property
    def passes(self) -> bool:
        return self.ratio <= MOST or bool(self.note)


# training and validation images are of one size: the loss of denoising is a sum over the pixels of an image
SQUARE: dict[str, Any] = {"data.size": [SIDE, SIDE]}
CASES = {
    "folder_resnet18": Case(folder="classes", overrides=SQUARE),
    "folder_unet": Case(folder="scenes", overrides={"data.train_size": [SIDE, SIDE]}),
    "folder_dncnn": Case(folder="photographs", overrides={"data.repeat": 1, "data.train_size": [SIDE, SIDE]}),
    "scenes_unet": Case(overrides={"data.side": SIDE, "data.count": STEPS * BATCH}),
    "lsp_hourglass": Case(people=1, overrides=SQUARE),
    "lsp_simple_baselines": Case(people=1, overrides=SQUARE),
    "figures_hourglass": Case(people=1, overrides=SQUARE),
    "figures_simple_baselines": Case(people=1, overrides=SQUARE),
    "figures_openpose": Case(people=3, overrides=SQUARE),
    "figures_keypointrcnn": Case(people=2, overrides=SQUARE),
}


def write_folders(root: Path) -> None:
    """Scenes with their masks, the same without, and one folder a class of the objects cut out of them."""
    names = Scenes(side=SIDE).info.classes
    for split, count in (("train", STEPS * BATCH), ("val", SEEN)):
        scenes = Scenes(split=split, seed=SEED, count=count, side=SIDE)
        counts = dict.fromkeys(names[1:], 0)
        for number in range(count):
            sample = scenes[number]
            picture = Image.fromarray(sample["image"].permute(1, 2, 0).numpy())
            _save(picture, root / "scenes" / split / "images" / f"{number}.png")
            _save(Image.fromarray(sample["mask"].byte().numpy()), root / "scenes" / split / "masks" / f"{number}.png")
            _save(picture, root / "photographs" / split / f"{number}.png")
            for box, label in zip(sample["boxes"].tolist(), sample["labels"].tolist(), strict=True):
                name = names[label]
                if counts[name] < count // len(counts):
                    _save(picture.crop(tuple(map(round, box))), root / "classes" / split / name / f"{number}.png")
                    counts[name] += 1
    (root / "scenes" / "classes.txt").write_text("\n".join(names) + "\n", encoding="utf-8")


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    while path.exists():
        path = path.with_stem(path.stem + "b")
    picture.save(path)


def short_run(name: str, epochs: int, *, root: Path, overrides: Mapping[str, Any] | None = None) -> Short:
    """One run of a recipe, in a folder below `root` that holds what `write_folders` wrote."""
    case = CASES[name]
    settings = {**FIXED, **case.overrides, "train.epochs": epochs, **(overrides or {})}
    settings |= {"data.root": str(root / case.folder)} if case.folder else {}
    readers = {}
    if case.people:
        for split, count in (("train", STEPS * BATCH), ("val", SEEN)):
            readers[split] = Figures(split=split, seed=SEED, count=count, side=SIDE, people=case.people, occlusion=0)
    run = Path(tempfile.mkdtemp(dir=root)) / "run"
    noted, log = _Notes(), logging.getLogger("unpool")
    log.addHandler(noted)
    try:
        metrics = unpool.train(name, settings, run=run, **readers)
    finally:
        log.removeHandler(noted)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "step" and line["epoch"] == epochs - 1]
    if len(losses) != STEPS:
        raise ValueError(f"{name} took {len(losses)} steps in its last epoch, expected {STEPS}")
    return Short(name, epochs, sum(losses) / STEPS, metrics["loss"], next(iter(noted.texts), ""))


class _Notes(logging.Handler):
    """Keeps what the log says of batch norm."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.texts += [text] if "statistics of batch norm" in text else []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.short_runs", description=__doc__)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=CASES, metavar="RECIPE")
    parser.add_argument("--json", type=Path, default=RESULTS / "short_runs.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started_s = time.monotonic()
    runs: list[Short] = []
    with tempfile.TemporaryDirectory() as folder:
        write_folders(Path(folder))
        for name in options.only:
            for epochs in EPOCHS:
                runs.append(short_run(name, epochs, root=Path(folder)))
                print("  ".join(_line(runs[-1])), flush=True)
    passed, near = sum(run.passes for run in runs), sum(run.ratio <= MOST for run in runs)
    what = (
        f"{len(options.only)} recipes, 1, 2 and 3 epochs of {STEPS} steps: validation loss at most {MOST:g} times the "
    )
    rows = [
        Row(what=f"{what}training loss", figure=f"{near} of {len(runs)}"),
        Row(what=f"{what}training loss, or a note that says why not", figure=f"{passed} of {len(runs)}"),
    ]
    command = shlex.join(["python", "-m", "benchmarks.short_runs", *(sys.argv[1:] if arguments is None else arguments)])
    write_result(
        options.json,
        rows,
        command=command,
        seed=SEED,
        wall_s=time.monotonic() - started_s,
        details={"runs": [asdict(run) for run in runs]},
        table=[("recipe", "epochs", "training", "validation", "ratio", "note"), *map(_line, runs)],
    )
    print(f"{passed} of {len(runs)} pass")
    return int(passed < len(runs))


def _line(run: Short) -> tuple[str, ...]:
    return (
        run.recipe,
        str(run.epochs),
        f"{run.training:.4g}",
        f"{run.validation:.4g}",
        f"{run.ratio:.2f}",
        run.note[:40],
    )


if __name__ == "__main__":
    sys.exit(main())
