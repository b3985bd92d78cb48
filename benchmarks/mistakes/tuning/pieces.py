"""What the runs share: a change of a run, loaders, training steps, scores."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.mistakes.case import Case, Folders, OfRecipe, Plain

KARPATHY = "Karpathy, most common neural net mistakes, x.com/karpathy/status/1013244313327681536"


def planted(of: Case, name: str, cause: str, make: Callable[[Folders], Plain | OfRecipe], source: str, **more) -> Case:
    """A case that changes the healthy case `of`, on its data and network unless `more` names others."""
    return of._replace(name=name, cause=cause, make=make, source=source, of=of.name, **more)


def changed(run: Plain, **arguments: Any) -> Plain:
    """The run with some of its arguments replaced."""
    return Plain({**run.arguments, **arguments})


def rerouted(run: OfRecipe, **overrides: Any) -> OfRecipe:
    """The run of a recipe with further overrides; `__` in a name stands for the dot."""
    return OfRecipe(run.recipe, {**run.overrides, **{k.replace("__", "."): v for k, v in overrides.items()}})


def with_network(run: Plain, model: nn.Module, lr: float = 2e-3) -> Plain:
    """The run with another network, and Adam over its parameters."""
    return changed(run, model=model, optimizer=torch.optim.Adam(model.parameters(), lr=lr))


class Pairs(Dataset):
    """Images and targets in memory, each image prepared, or both augmented, when it is read."""

    def __init__(
        self,
        images: Sequence,
        targets: Sequence,
        prepare: Callable[[Any], Tensor] | None = None,
        augment: Callable[[Tensor, Any], tuple[Tensor, Any]] | None = None,
    ) -> None:
        self.images, self.targets, self.prepare, self.augment = images, targets, prepare, augment

    def __len__(self) -> int:
        return len(self.images)

    def raw(self, index: int) -> Any:
        """The picture as it was taken."""
        return self.images[index]

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, target = self.images[index], self.targets[index]
        if self.prepare is not None:
            image = self.prepare(image)
        return (image, target) if self.augment is None else self.augment(image, target)


class Dicts(Dataset):
    """Samples of several tensors by name."""

    def __init__(self, **columns: Sequence) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.columns.items()}


def loader(data: Any, batch: int = 16, *, shuffle: bool = False, seed: int = 0, **options: Any) -> DataLoader:
    """Batches of a set; the order of a shuffled one follows from the seed."""
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, batch, shuffle=shuffle, generator=generator, **options)


def as_bytes(images: Tensor) -> np.ndarray:
    """(N, C, H, W) from 0 to 1 as (N, H, W, C) bytes, which is how cameras and files have them."""
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def normalizer(mean: Sequence[float], std: Sequence[float]) -> Callable[[np.ndarray], Tensor]:
    """Prepares bytes (H, W, C): channels first, 0..1, mean and deviation."""

    def prepare(picture: np.ndarray) -> Tensor:
        image = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    return prepare


def usual_step(model: nn.Module, loss: Callable, optimizer: torch.optim.Optimizer) -> Callable[[Any], Tensor]:
    """One training step as everybody writes it."""

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        optimizer.zero_grad()
        value = loss(model(inputs), targets)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def answers(model: nn.Module, batches: Iterable, forward: Callable | None = None) -> Iterable[tuple[Tensor, Any]]:
    """Outputs and targets of each batch, without gradients, in evaluation mode, which is undone afterwards."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for batch in batches:
            if forward is not None:
                yield forward(model, batch), batch
            else:
                yield model(batch[0]), batch[1]
    model.train(was_training)


def batched(data: Any, batch: int = 16) -> Iterable:
    """The batches of a loader as it is, of a set of single samples in its order."""
    return data if isinstance(data, DataLoader | list) else DataLoader(data, batch)


def accuracy(model: nn.Module, val: Any) -> float:
    """The share of the validation set whose highest output is its class."""
    right = total = 0
    for outputs, labels in answers(model, batched(val)):
        right += int((outputs.argmax(1) == labels).sum())
        total += len(labels)
    return right / total


def batch_accuracy(outputs: Tensor, labels: Tensor) -> Tensor:
    """The share of a batch whose highest output is its class."""
    return (outputs.argmax(1) == labels).float().mean()


class Accuracy:
    """Counts right answers over the batches of a set."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all counts."""
        self.right = self.total = 0

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Counts a batch."""
        self.right += int((outputs.argmax(1) == labels).sum())
        self.total += len(labels)

    def compute(self) -> float:
        """The share of right answers."""
        return self.right / self.total


class MeanIoU:
    """Intersection over union of each class, counted over the set; pixels of value `ignore` are left out."""

    def __init__(self, classes: int, ignore: int = 255) -> None:
        self.classes, self.ignore = classes, ignore
        self.reset()

    def reset(self) -> None:
        """Forgets all counts."""
        self.counts = torch.zeros(self.classes, self.classes, dtype=torch.long)

    def update(self, outputs: Tensor, masks: Tensor) -> None:
        """Counts the pixels of a batch."""
        answer = outputs.argmax(1)
        seen = masks != self.ignore
        index = masks[seen] * self.classes + answer[seen]
        self.counts += torch.bincount(index, minlength=self.classes**2).view(self.classes, self.classes)

    def compute(self) -> float:
        """The mean over the classes that occur."""
        right = self.counts.diag()
        union = self.counts.sum(0) + self.counts.sum(1) - right
        return float((right[union > 0] / union[union > 0]).mean())
