"""Classes of tissue in uneven counts, with torchvision's resnet18."""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, Dataset
from torchvision import models

from benchmarks.mistakes.case import Case, Folders, Plain

TISSUES = ("stroma", "tumour", "lymphocytes", "mucus", "muscle")
COUNTS = (120, 70, 40, 25, 25)


def _blobs(canvas: np.ndarray, rng: np.random.Generator, many: int, radius: float, depth: float) -> None:
    """Draws dark nuclei into a grey canvas."""
    size = canvas.shape[0]
    rows, columns = np.mgrid[:size, :size]
    for _ in range(many):
        y, x = rng.uniform(0, size, 2)
        a, b = radius * rng.uniform(0.8, 1.25, 2)
        canvas -= depth * np.exp(-((((rows - y) / a) ** 2 + ((columns - x) / b) ** 2) ** 2))


def _tissue(kind: int, rng: np.random.Generator, size: int = 48) -> np.ndarray:
    """One patch, 8-bit RGB: density and size of the nuclei, and fibres, are what the classes differ in."""
    rough = rng.normal(size=(size // 6, size // 6)).astype(np.float32)
    grey = 0.75 + 0.08 * cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float64)
    many, radius = ((7, 2.2), (12, 3.8), (34, 2.0), (2, 2.5), (7, 2.2))[kind]
    _blobs(grey, rng, int(rng.poisson(many)) + 1, radius, rng.uniform(0.25, 0.45))
    if kind == 4:
        rows, columns = np.mgrid[:size, :size]
        turn = rng.uniform(0, np.pi)
        along = rows * np.cos(turn) + columns * np.sin(turn)
        grey += 0.09 * np.sin(along * rng.uniform(0.7, 1.1) + 0.6 * grey)
    grey = grey + rng.normal(0, 0.03, grey.shape)
    stain = np.array([0.95, 0.70, 0.88]) * rng.uniform(0.92, 1.05, 3)
    return (np.clip(1 - (1 - grey[..., None]) * (1.9 - stain), 0, 1) * stain * 255).clip(0, 255).astype(np.uint8)


class Slides(Dataset[tuple[Tensor, int]]):
    """Patches in memory, turned and mirrored for training."""

    def __init__(self, counts: tuple[int, ...], seed: int, change: Callable[[Tensor], Tensor] | None = None) -> None:
        rng = np.random.default_rng(seed)
        self.labels = [kind for kind, many in enumerate(counts) for _ in range(many)]
        self.patches = [_tissue(kind, rng) for kind in self.labels]
        self.change = change

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = torch.from_numpy(self.patches[index]).permute(2, 0, 1).float() / 255
        x = (x - 0.7) / 0.2
        return (self.change(x) if self.change else x), self.labels[index]


def _turned(x: Tensor) -> Tensor:
    x = torch.rot90(x, int(torch.randint(4, ())), (1, 2))
    return x.flip(2) if torch.rand(()) < 0.5 else x


def accuracy(model: nn.Module, loader: Any) -> float:
    """Share of right answers, counted over the set."""
    model.eval()
    right = many = 0
    with torch.no_grad():
        for x, y in loader:
            right += int((model(x).argmax(1) == y).sum())
            many += len(y)
    return right / many


def _slides(_: Folders) -> dict[str, Any]:
    torch.manual_seed(11)
    model = models.resnet18(num_classes=len(TISSUES))
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    return {
        "model": model,
        "train": DataLoader(Slides(COUNTS, 1, _turned), batch_size=16, shuffle=True, drop_last=True),
        "val": DataLoader(Slides((30, 18, 12, 11, 10), 2), batch_size=16),
        "loss": nn.CrossEntropyLoss(weight=counts.sum() / (len(counts) * counts)),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "epochs": 12,
        "evaluate": accuracy,
        "classes": TISSUES,
    }


def _slides_healthy(folders: Folders) -> Plain:
    return Plain(_slides(folders))


def _weights_by_frequency(folders: Folders) -> Plain:
    run = _slides(folders)
    counts = torch.tensor(COUNTS, dtype=torch.float32)
    return Plain(run | {"loss": nn.CrossEntropyLoss(weight=counts / counts.mean())})


def _cosine_by_batch(folders: Folders) -> Plain:
    run = _slides(folders)
    model, optimizer, criterion = run["model"], run["optimizer"], run["loss"]
    scheduler = CosineAnnealingLR(optimizer, T_max=run["epochs"])

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        model.train()
        images, labels = batch
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.detach()

    return Plain(run | {"step": step, "schedule": scheduler})


def _norm_frozen_in_step(folders: Folders) -> Plain:
    run = _slides(folders)
    model, optimizer, criterion = run["model"], run["optimizer"], run["loss"]

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        images, labels = batch
        loss = criterion(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Plain(run | {"step": step})


def _momentum_of_a_long_run(folders: Folders) -> Plain:
    run = _slides(folders)
    torch.manual_seed(11)
    model = models.resnet18(num_classes=len(TISSUES), norm_layer=partial(nn.BatchNorm2d, momentum=0.001))
    return Plain(run | {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3)})


class OtherScanner(Slides):
    """Patches of the second hospital, as its scanner writes them."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, y = super().__getitem__(index)
        return (x * 0.2 + 0.7).clamp(0, 1).pow(1.7).mul(torch.tensor([0.75, 0.8, 1.0])[:, None, None]).sub(0.7) / 0.2, y


def _second_hospital(folders: Folders) -> Plain:
    val = DataLoader(OtherScanner((30, 18, 12, 11, 10), 2), batch_size=16)
    return Plain(_slides(folders) | {"val": val})


def _head_of_unit_deviation(folders: Folders) -> Plain:
    run = _slides(folders)
    for module in run["model"].modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
            nn.init.zeros_(module.bias)
    return Plain(run)


def _mean_of_batch_accuracies(folders: Folders) -> Plain:
    def evaluate(model: nn.Module, loader: Any) -> float:
        model.eval()
        scores = []
        with torch.no_grad():
            for x, y in loader:
                scores.append((model(x).argmax(1) == y).float().mean().item())
        return sum(scores) / len(scores)

    return Plain(_slides(folders) | {"evaluate": evaluate})


_tissue_case = partial(Case, data="generated tissue", network="torchvision resnet18", of="fresh_tissue_uneven")

CASES: tuple[Case, ...] = (
    Case(
        "fresh_tissue_uneven",
        _slides_healthy,
        "generated tissue",
        "torchvision resnet18",
        source="Five times as many of one class, with weights that make up for it; images in memory.",
    ),
    _tissue_case(
        "fresh_weights_by_frequency",
        _weights_by_frequency,
        cause="loss.weights_inverted",
        source="`weight=counts`: the frequent class weighs most. Often asked about CrossEntropyLoss(weight).",
    ),
    _tissue_case(
        "fresh_cosine_stepped_by_batch",
        _cosine_by_batch,
        cause="optim.schedule",
        source="T_max in epochs, step in the batch loop: sthalles/SimCLR issue 8, ivadomed issue 57.",
    ),
    _tissue_case(
        "fresh_norm_frozen_from_scratch",
        _norm_frozen_in_step,
        cause="norm.frozen",
        source="freeze_bn() copied from a fine-tuning script into a run without pre-trained weights.",
    ),
    _tissue_case(
        "fresh_momentum_of_a_long_run",
        _momentum_of_a_long_run,
        cause="norm.slow_momentum",
        also=("norm.train_eval_gap",),
        source="Momentum 0.001 for 170 steps (recommended in kazuto1011/deeplab-pytorch issue 79, for long runs).",
    ),
    _tissue_case(
        "fresh_validation_of_another_scanner",
        _second_hospital,
        cause="data.split_shift",
        source="Validation comes from the second hospital only; people split by folder, and folders are sites.",
    ),
    _tissue_case(
        "fresh_head_of_unit_deviation",
        _head_of_unit_deviation,
        cause="network.output_at_start",
        source="An init function with nn.init.normal_(weight), whose default deviation is 1.",
    ),
    _tissue_case(
        "fresh_mean_of_batch_accuracies",
        _mean_of_batch_accuracies,
        cause="metric.averaged_batches",
        source="Mean of the batches' accuracies; the last batch holds one sample. Common in tutorials.",
    ),
)
