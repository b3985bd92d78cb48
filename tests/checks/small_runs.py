"""Small runs for tests of checks: images that are learned in some steps, and a training step to change."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unpool.checks.findings import Finding
from unpool.checks.setup import Setup
from unpool.checks.source import Source


def net(classes: int = 3, *, bias: float = 0.0) -> nn.Sequential:
    """A small network with batch norm and dropout."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, classes))
    nn.init.constant_(model[6].bias, bias)
    return model


def images(number: int, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images whose mean colour tells their class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (number,), generator=generator)
    noise = torch.randn(number, 3, 12, 12, generator=generator)
    return noise + 2 * nn.functional.one_hot(labels, 3)[:, :, None, None].float(), labels


def batches(number: int = 12, size: int = 8) -> list[tuple[Tensor, Tensor]]:
    x, y = images(number * size)
    return list(zip(x.split(size), y.split(size), strict=True))


def run(**changes: Any) -> Setup:
    """A healthy run, with some of its arguments changed."""
    model = changes.pop("model", None) or net()
    arguments: dict[str, Any] = {
        "model": model,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train": batches(),
        "val": batches(4),
        "epochs": 10,
    } | changes
    arguments["train"] = Source(arguments["train"], name="train")
    arguments["val"] = None if arguments["val"] is None else Source(arguments["val"], name="val")
    return Setup(**arguments)


def stepped(make: Callable[[Setup], Callable[[Any], Any]], **changes: Any) -> Setup:
    """A run whose training step is made for it."""
    setup = run(**changes)
    setup.step = make(setup)
    return setup


def usual(setup: Setup) -> Callable[[Any], Tensor]:
    """The step as everybody writes it."""

    def step(batch: Any) -> Tensor:
        setup.optimizer.zero_grad()
        loss = setup.loss(setup.model(batch[0]), batch[1])
        loss.backward()
        setup.optimizer.step()
        return loss.detach()

    return step


def is_named(finding: Finding | list[Finding], cause: str, verdict: str = "fail") -> bool:
    """Whether a finding names a cause, with what to do."""
    one = finding if isinstance(finding, Finding) else finding[0]
    return (one.verdict, one.cause) == (verdict, cause) and bool(one.cure) and bool(one.about)
