"""What the cases share: sets of pictures, a training step, an evaluation, their objects put together."""

import gzip
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Plain

Loss = Callable[[Any, Any], Any]


def to_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """Bytes (H, W) or (H, W, 3) as floats (C, H, W) from -1 to 1."""
    array = picture[..., None] if picture.ndim == 2 else picture
    return torch.from_numpy(array.transpose(2, 0, 1) / np.float32(127.5) - np.float32(1))


class Pictures(Dataset):
    """Pictures and targets in memory; `raw(i)` is the picture as it was before any transform."""

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        targets: Sequence[Any],
        *,
        transform: Callable[[NDArray[np.uint8]], Tensor] = to_tensor,
        augment: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None,
    ) -> None:
        self.pictures, self.targets, self.transform, self.augment = pictures, targets, transform, augment

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, target = self.transform(self.pictures[index]), self.targets[index]
        return (image, target) if self.augment is None else self.augment(image, target)

    def raw(self, index: int) -> NDArray[np.uint8]:
        return self.pictures[index]


def batches(data: Any, size: int = 64) -> Iterable[Any]:
    """Batches of a set, or what already yields batches."""
    return DataLoader(data, batch_size=size) if isinstance(data, Dataset) else data


def usual_step(model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer) -> Callable[[Any], Tensor]:
    """The training step of a tutorial."""

    def step(batch: Any) -> Tensor:
        model.train()
        inputs, targets = batch
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def plain(
    model: nn.Module,
    train: Any,
    val: Any,
    loss: Loss,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    rate: float = 2e-3,
    **more: Any,
) -> Plain:
    """A run of AdamW and the usual step, but for what is passed."""
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=rate)
    more.setdefault("step", usual_step(model, loss, optimizer))
    more.setdefault("epochs", 12)
    return Plain({"model": model, "train": train, "val": val, "loss": loss, "optimizer": optimizer, **more})


def shares(model: nn.Module, val: Any) -> float:
    """Accuracy in evaluation mode, counted over the set."""
    model.eval()
    right = total = 0
    with torch.no_grad():
        for inputs, targets in batches(val):
            right += (model(inputs).argmax(1) == targets).sum().item()
            total += len(targets)
    model.train()
    return right / total


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The share of a batch that is right."""
    return (outputs.argmax(1) == targets).float().mean()


def read_mnist(folder: Path, split: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first digits of a split (N, 28, 28), and their labels."""
    name = {"train": "train", "val": "t10k"}[split]
    with gzip.open(folder / f"{name}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(16 + 784 * count)[16:], np.uint8).reshape(-1, 28, 28)
    with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(8 + count)[8:], np.uint8).astype(np.int64)


def read_cifar(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 500 or 200 pictures that lie in the original binary form (N, 32, 32, 3), and their labels."""
    name = {"train": "data_batch_1.bin", "val": "test_batch.bin"}[split]
    rows = np.fromfile(folder / "cifar-10-batches-bin" / name, np.uint8).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0].astype(np.int64)
