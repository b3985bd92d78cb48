"""Small generated runs, and what a look at one of them finds."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unpool.checks.budget import Budget
from unpool.checks.findings import Finding
from unpool.checks.setup import Setup
from unpool.checks.source import Source

Batches = list[tuple[Tensor, Tensor]]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(number: int = 3, *, batches: int = 8, size: int = 8, channels: int = 3, side: int = 12) -> Batches:
    """Noise whose classes take turns."""
    labels = torch.arange(size) % number
    return [(drawn(size, channels, side, side, seed=i) + labels[:, None, None, None], labels) for i in range(batches)]


def masks(*, void: bool = False, batches: int = 4, size: int = 4, side: int = 16) -> Batches:
    """A bright square of class 1 on noise; its edge is 255 where `void`."""
    made = []
    for i in range(batches):
        mask = torch.zeros(size, side, side, dtype=torch.long)
        mask[:, 4:12, 4:12] = 1
        image = drawn(size, 3, side, side, seed=i) + 2 * mask[:, None]
        if void:
            mask[:, 4] = 255
        made.append((image, mask))
    return made


def numbers(*, scale: float = 1.0, batches: int = 4, size: int = 8) -> Batches:
    """Two numbers for each picture of noise."""
    return [(drawn(size, 3, 12, 12, seed=i), scale * drawn(size, 2, seed=50 + i)) for i in range(batches)]


def small_net(outputs: int = 3, *, channels: int = 3, norm: type[nn.Module] | None = None) -> nn.Sequential:
    """Two convolutions, a mean and a linear layer; with batch norms where `norm` is given."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, width, stride in ((channels, 8, 1), (8, 12, 2)):
        layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=norm is None)]
        layers += [norm(width)] if norm is not None else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, outputs))


def small_map(outputs: int = 2) -> nn.Sequential:
    """A network that answers for each pixel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, outputs, 1)
    )


def setup(model: nn.Module, train: Any, loss: Any = None, **more: Any) -> Setup:
    val = more.pop("val", None)
    return Setup(
        model=model,
        train=Source(train, name="train"),
        val=None if val is None else Source(val, name="val"),
        loss=loss,
        budget=Budget(5),
        **more,
    )


def seen(look: Callable[[Setup], Any], run: Setup) -> set[tuple[str, str]]:
    """Verdict and cause of each finding of one look, those that pass and do not apply by their verdict alone."""
    made = look(run)
    return {(one.verdict, one.cause) for one in ([made] if isinstance(made, Finding) else made)}


PASS, NONE = {("pass", "")}, {("not applicable", "")}
