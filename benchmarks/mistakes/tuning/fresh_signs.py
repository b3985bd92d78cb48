"""Odd digits with one output (dict batches), and the direction of arrows read from files (accumulated steps)."""

import csv
import gzip
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.mistakes.case import Case, Folders, Plain

DIRECTIONS = ("up", "right", "down", "left")
ACCUMULATED = 4


def _mnist(data: Path | None, split: str, many: int) -> tuple[np.ndarray, np.ndarray]:
    if data is None:
        raise FileNotFoundError("mnist is needed")
    with gzip.open(data / "mnist" / f"{split}-images-idx3-ubyte.gz") as stream:
        images = np.frombuffer(stream.read(16 + many * 784), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(data / "mnist" / f"{split}-labels-idx1-ubyte.gz") as stream:
        return images, np.frombuffer(stream.read(8 + many), np.uint8, offset=8)


class OddDigits(Dataset[dict[str, Any]]):
    """Samples as dicts: an image, and whether the digit is odd."""

    def __init__(self, data: Path | None, split: str, many: int) -> None:
        self.images, self.digits = _mnist(data, split, many)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.tensor(self.images[index], dtype=torch.float32)[None] / 255
        return {"image": (image - 0.13) / 0.31, "label": int(self.digits[index]) % 2, "index": index}


def _collate(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    return {
        "image": torch.stack([sample["image"] for sample in samples]),
        "label": torch.tensor([sample["label"] for sample in samples], dtype=torch.float32),
        "index": torch.tensor([sample["index"] for sample in samples]),
    }


class OddNet(nn.Module):
    """A small network with one output: the logit of "odd"."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 49, 64)
        self.fc2 = nn.Linear(64, 1)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        return F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(self.features(x).flatten(1)))
        return self.fc2(F.dropout(x, 0.5, training=self.training))


class OddNetFunctional(OddNet):
    """The same, written shorter."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.fc1(self.features(x).flatten(1)))
        x = F.dropout(x, 0.5)
        return self.fc2(x)


def focal(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Binary focal loss, stable in the logits."""
    bce = logits.clamp(min=0) - logits * targets + torch.log1p(torch.exp(-logits.abs()))
    return ((1 - torch.exp(-bce)) ** gamma * bce).mean()


def _focal_of_batch(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return focal(outputs.squeeze(1), batch["label"])


def _odd_score(model: nn.Module, loader: Iterable[Mapping[str, Tensor]]) -> float:
    model.eval()
    right, many = 0, 0
    with torch.no_grad():
        for batch in loader:
            odd = model(batch["image"]).squeeze(1) > 0
            right += int((odd == (batch["label"] > 0.5)).sum())
            many += len(odd)
    return right / many


def _digits(folders: Folders, network: type[nn.Module] = OddNet) -> dict[str, Any]:
    torch.manual_seed(3)
    model = network()
    train, val = OddDigits(folders.data, "train", 640), OddDigits(folders.data, "t10k", 200)
    return {
        "model": model,
        "train": DataLoader(train, batch_size=32, shuffle=True, collate_fn=_collate),
        "val": DataLoader(val, batch_size=50, collate_fn=_collate),
        "loss": _focal_of_batch,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "epochs": 10,
        "evaluate": _odd_score,
    }


def _digits_healthy(folders: Folders) -> Plain:
    return Plain(_digits(folders))


def _focal_of_a_column(folders: Folders) -> Plain:
    def loss(outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return focal(outputs, batch["label"])

    return Plain(_digits(folders) | {"loss": loss})


def _argmax_of_one_output(folders: Folders) -> Plain:
    def evaluate(model: nn.Module, loader: Iterable[Mapping[str, Tensor]]) -> float:
        model.eval()
        hits = []
        with torch.no_grad():
            for batch in loader:
                preds = model(batch["image"]).argmax(dim=1)
                hits.append((preds == batch["label"]).float())
        return torch.cat(hits).mean().item()

    return Plain(_digits(folders) | {"evaluate": evaluate})


def _dropout_of_function(folders: Folders) -> Plain:
    return Plain(_digits(folders, OddNetFunctional))


# arrows


def _arrow(direction: int, rng: np.random.Generator, size: int = 40) -> np.ndarray:
    """A light arrow on a rough ground, about upright, right, down or left."""
    rough = cv2.resize(rng.normal(size=(8, 8)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    canvas = 90 + 18 * rough + rng.normal(0, 9, (size, size)).astype(np.float32)
    turn = np.pi / 2 * (direction - 1) + rng.normal(0, 0.2)
    middle = size / 2 + rng.uniform(-5, 5, 2)
    ahead = rng.uniform(9, 13) * np.array([np.cos(turn), np.sin(turn)])
    start, end = [tuple(int(v) for v in middle + sign * ahead) for sign in (-1, 1)]
    cv2.arrowedLine(canvas, start, end, float(rng.uniform(150, 210)), 2, cv2.LINE_AA, tipLength=0.4)
    return canvas.clip(0, 255).astype(np.uint8)


def _write_arrows(root: Path, many: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "direction"])
        for number, direction in enumerate(rng.integers(0, 4, many)):
            Image.fromarray(_arrow(int(direction), rng)).save(root / f"arrow_{number}.png")
            writer.writerow([f"arrow_{number}.png", DIRECTIONS[direction]])


class Arrows(Dataset[tuple[Tensor, int]]):
    """Grey pictures of a folder with `labels.csv`."""

    def __init__(self, root: Path, change: Any = None) -> None:
        with (root / "labels.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        self.files = [root / row["file"] for row in rows]
        self.labels = [DIRECTIONS.index(row["direction"]) for row in rows]
        self.change = change

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(np.array(Image.open(self.files[index]))).float()[None] / 127.5 - 1
        return (self.change(x) if self.change else x), self.labels[index]


class ArrowModule(nn.Module):
    """A network with its own training step and optimiser, as in Lightning."""

    def __init__(self, outputs: int = 4, lr: float = 0.05) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.GroupNorm(4, n_out), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64 * 25, 64), nn.ReLU(), nn.Linear(64, outputs))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def _arrow_score(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float() for x, y in loader]
    return torch.cat(hits).mean().item()


def _arrows(folders: Folders, change: Any = None, divisor: int = ACCUMULATED) -> dict[str, Any]:
    _write_arrows(folders.scratch / "train", 320, 1)
    _write_arrows(folders.scratch / "val", 80, 2)
    torch.manual_seed(9)
    model = ArrowModule()
    optimizer = model.configure_optimizers()
    seen = 0

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        nonlocal seen
        model.train()
        loss = model.training_step(batch)
        (loss / divisor).backward()
        seen += 1
        if seen % ACCUMULATED == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    return {
        "model": model,
        "train": DataLoader(Arrows(folders.scratch / "train", change), batch_size=8, shuffle=True),
        "val": DataLoader(Arrows(folders.scratch / "val"), batch_size=16),
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "step": step,
        "epochs": 20,
        "evaluate": _arrow_score,
        "classes": DIRECTIONS,
    }


def _arrows_healthy(folders: Folders) -> Plain:
    return Plain(_arrows(folders))


def _arrows_mirrored(folders: Folders) -> Plain:
    flip = transforms.RandomHorizontalFlip()
    return Plain(_arrows(folders, flip) | {"augment": lambda image, target: (flip(image), target)})


def _sum_of_accumulated(folders: Folders) -> Plain:
    return Plain(_arrows(folders, divisor=1))


def _files_sorted_as_text(folders: Folders) -> Plain:
    run = _arrows(folders)
    for name in ("train", "val"):
        samples = run[name].dataset
        samples.files = sorted((folders.scratch / name).glob("*.png"))
    return Plain(run)


def _class_number_regressed(folders: Folders) -> Plain:
    run = _arrows(folders)
    torch.manual_seed(9)
    model = ArrowModule(outputs=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.squeeze(1), targets.float())

    def evaluate(model: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> float:
        model.eval()
        with torch.no_grad():
            hits = [(model(x).squeeze(1).round().long() == y).float() for x, y in loader]
        return torch.cat(hits).mean().item()

    run |= {"model": model, "optimizer": optimizer, "loss": loss, "evaluate": evaluate}
    return Plain({name: value for name, value in run.items() if name != "step"})


_digit_case = partial(Case, data="mnist", network="own, one output", of="fresh_odd_digits", needs=("mnist",))
_arrow_case = partial(Case, data="generated arrows", network="own with group norm", of="fresh_arrows_accumulated")

CASES: tuple[Case, ...] = (
    Case(
        "fresh_odd_digits",
        _digits_healthy,
        "mnist",
        "own, one output",
        needs=("mnist",),
        source="One sigmoid output, own focal loss, dict batches with an index that no loss reads.",
    ),
    Case(
        "fresh_arrows_accumulated",
        _arrows_healthy,
        "generated arrows",
        "own with group norm",
        source="Batches of 8 accumulated over 4, group norm, no augmentation: a mirror would change the class.",
    ),
    _digit_case(
        "fresh_focal_of_a_column",
        _focal_of_a_column,
        cause="network.broadcast",
        source="(B, 1) against (B,): a loss of one's own has no size check as torch's has.",
    ),
    _digit_case(
        "fresh_argmax_of_one_output",
        _argmax_of_one_output,
        cause="metric.wrong_axis",
        source="Evaluation loop of a two-output network kept for one output: argmax(1) is always 0.",
    ),
    _digit_case(
        "fresh_dropout_of_function",
        _dropout_of_function,
        cause="norm.dropout_in_eval",
        source="pytorch/pytorch issues 11999 and 26338: F.dropout without training=self.training.",
    ),
    _arrow_case(
        "fresh_arrows_mirrored",
        _arrows_mirrored,
        cause="augment.changes_meaning",
        source="RandomHorizontalFlip by habit, on signs whose class is left or right.",
    ),
    _arrow_case(
        "fresh_accumulated_and_not_divided",
        _sum_of_accumulated,
        cause="optim.accumulation",
        source="karpathy/nanoGPT issue 206 describes the division; people who add accumulation leave it out.",
    ),
    _arrow_case(
        "fresh_files_sorted_as_text",
        _files_sorted_as_text,
        cause="data.target_mismatch",
        source="sorted(glob) puts arrow_10 before arrow_2, the table is in the order of numbers.",
    ),
    _arrow_case(
        "fresh_class_number_regressed",
        _class_number_regressed,
        cause="loss.wrong_kind",
        source="MSE on class numbers because `MSELoss` was at hand; asked again and again by beginners.",
    ),
)
