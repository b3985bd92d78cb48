"""Pressure read off pictures of a gauge, files and a table: one number by a small network."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, Plain

SIDE = 48
MEAN, DEVIATION = 500.0, 290.0  # of the readings, in kilopascal


def gauge(reading: float, rng: np.random.Generator) -> Image.Image:
    """A dial of 0 to 1000, its needle from the lower left over the top to the lower right."""
    image = Image.new("L", (SIDE * 2, SIDE * 2), int(rng.integers(120, 200)))
    draw = ImageDraw.Draw(image)
    centre = SIDE + rng.uniform(-5, 5, 2)
    radius = rng.uniform(34, 42)
    box = tuple(float(v) for v in (*(centre - radius), *(centre + radius)))
    draw.ellipse(box, fill=int(rng.integers(215, 255)), outline=40, width=3)
    for mark in range(11):
        angle = np.deg2rad(225 - 27 * mark)
        way = np.array([np.cos(angle), -np.sin(angle)])
        draw.line([*(centre + way * radius * 0.82), *(centre + way * radius * 0.95)], fill=90, width=2)
    angle = np.deg2rad(225 - 0.27 * reading)
    way = np.array([np.cos(angle), -np.sin(angle)])
    draw.line(
        [*(centre - way * radius * 0.15), *(centre + way * radius * 0.72)], fill=int(rng.integers(0, 50)), width=4
    )
    values = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) + rng.normal(0, 4, (SIDE, SIDE))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def write(folder: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir()
    with (folder / "readings.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "kpa"])
        for number in range(1, count + 1):
            reading = rng.uniform(0, 1000)
            gauge(reading, rng).save(folder / f"gauge_{number}.png")
            rows.writerow([f"gauge_{number}.png", f"{reading:.1f}"])


class Gauges(Dataset):
    """Pictures and readings; with `listed`, the files are those that the folder lists."""

    def __init__(self, folder: Path, mean: float, deviation: float, shape: tuple[int, ...], *, listed: bool) -> None:
        with (folder / "readings.csv").open() as file:
            rows = list(csv.DictReader(file))
        files = sorted(folder.glob("*.png")) if listed else [folder / row["file"] for row in rows]
        readings = torch.tensor([float(row["kpa"]) for row in rows])
        self.pictures = [torch.from_numpy(np.asarray(Image.open(path)) / 255.0).float()[None] for path in files]
        self.readings = ((readings - mean) / deviation).reshape(-1, *shape)

    def __len__(self) -> int:
        return len(self.readings)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return (self.pictures[index] - 0.7) / 0.25, self.readings[index]


class Reader(nn.Module):
    """Strided convolutions with group norm and two linear layers; `always` keeps dropout on."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 48), (48, 64)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.hidden, self.last = nn.Linear(64 * 9, 64), nn.Linear(64, 1)
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.hidden(self.features(x)))
        x = functional.dropout(x, 0.2) if self.always else functional.dropout(x, 0.2, self.training)
        return self.last(x)


def in_kpa(values: Tensor) -> Tensor:
    return values * DEVIATION + MEAN


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (in_kpa(outputs) - in_kpa(targets)).abs().mean()


def error_to_raw(outputs: Tensor, targets: Tensor) -> Tensor:
    return (in_kpa(outputs) - targets).abs().mean()


def error_as_is(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).abs().mean()


def scored(model: nn.Module, loader: DataLoader, metric: Callable[[Tensor, Tensor], Tensor]) -> float:
    model.eval()
    with torch.no_grad():
        pairs = [(model(pictures), readings) for pictures, readings in loader]
    return float(metric(torch.cat([one for one, _ in pairs]), torch.cat([one for _, one in pairs])))


def run(
    folders: Folders,
    *,
    listed: bool = False,
    mean: float = MEAN,
    deviation: float = DEVIATION,
    shape: tuple[int, ...] = (1,),
    always: bool = False,
    metric: Callable[[Tensor, Tensor], Tensor] = error,
) -> Plain:
    torch.manual_seed(0)
    write(folders.scratch / "train", 400, 1)
    write(folders.scratch / "val", 100, 2)
    train_set = Gauges(folders.scratch / "train", mean, deviation, shape, listed=listed)
    val_set = Gauges(folders.scratch / "val", mean, deviation, shape, listed=listed)
    model = Reader(always=always)
    val = DataLoader(val_set, 25)
    arguments = {
        "model": model,
        "train": DataLoader(train_set, 20, shuffle=True, generator=torch.Generator().manual_seed(0)),
        "val": val,
        "loss": nn.MSELoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "epochs": 25,
        "metric": metric,
        "evaluate": partial(scored, metric=metric),
        "task": "regression",
    }
    return Plain(arguments)


HEALTHY = "gauges_read_by_regression"
planted = partial(Case, data="generated gauges", network="strided convolutions with group norm", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated gauges",
        "strided convolutions with group norm",
        "one number, normalised, no augmentation, dropout, no batch norm, the score is an error in kilopascal",
    ),
    planted(
        "gauges_one_number_against_a_row",
        partial(run, shape=()),
        cause="network.broadcast",
        source="deepset-ai/FARM #229, mlcommons/GaNDLF #134: outputs of (batch, 1) against targets of (batch,)",
    ),
    planted(
        "gauges_in_kilopascal_as_they_are",
        partial(run, mean=0.0, deviation=1.0, metric=error_as_is),
        cause="loss.target_scale",
        source="people regress readings, ages or prices in their units with the rate of a classifier",
    ),
    planted(
        "gauges_files_sorted_by_name",
        partial(run, listed=True),
        cause="data.target_mismatch",
        source="people take sorted(glob()) beside a table in order of number: gauge_10 stands before gauge_2",
    ),
    planted(
        "gauges_error_of_one_side_in_units",
        partial(run, metric=error_to_raw),
        cause="metric.not_perfect",
        source="people undo the normalisation of the answers and forget that the loader normalised the targets, too",
        also=("metric.disagrees",),
    ),
    planted(
        "gauges_functional_dropout_always_on",
        partial(run, always=True),
        cause="norm.dropout_in_eval",
        source="torch.nn.functional.dropout's documentation: training is True by default, model.eval() does not "
        "reach it",
    ),
)
