"""Colonies counted as one number, also with accumulated gradients."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.mistakes.case import Case, Folders, Plain
from benchmarks.mistakes.held.networks import ConvNet
from benchmarks.mistakes.held.runs import Pictures, batches, plain


def dishes(count: int, seed: int) -> tuple[np.ndarray, list[Tensor]]:
    """Grey dishes (N, 40, 40) with 1 to 9 bright colonies, and their number as a float."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    pictures, numbers = rng.normal(70, 15, (count, 40, 40)), rng.integers(1, 10, count)
    for picture, number in zip(pictures, numbers, strict=True):
        spots = [(i, j) for i in range(4) for j in range(4)]
        for k in rng.choice(16, number, replace=False):
            cx, cy = 5 + 10 * spots[k][0] + rng.uniform(-1, 1), 5 + 10 * spots[k][1] + rng.uniform(-1, 1)
            picture += 110 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * rng.uniform(1.4, 1.9) ** 2))
    return pictures.clip(0, 255).astype(np.uint8), [torch.tensor(float(n)) for n in (numbers - 5) / 2.5]


def explained(model: nn.Module, val: Any) -> float:
    """The coefficient of determination over a set."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(images).flatten(), numbers) for images, numbers in batches(val)]
    model.train()
    answers, numbers = (torch.cat(part) for part in zip(*pairs, strict=True))
    return 1 - ((answers - numbers).square().sum() / (numbers - numbers.mean()).square().sum()).item()


def counting_run(model: nn.Module, *, batch: int = 32, **more: Any) -> Plain:
    """A run that counts the colonies of a dish."""
    train = DataLoader(Pictures(*dishes(640, 1)), batch, shuffle=True, drop_last=True)
    more = {"evaluate": explained, "task": "regression"} | more
    return plain(model, train, Pictures(*dishes(120, 2)), more.pop("loss", squares), **more)


def squares(outputs: Tensor, numbers: Tensor) -> Tensor:
    """Squared error of outputs (B, 1)."""
    return F.mse_loss(outputs.squeeze(1), numbers)


def colonies(folders: Folders) -> Plain:
    torch.manual_seed(0)
    return counting_run(ConvNet(1, channels=1))


def every_answer_with_every_count(folders: Folders) -> Plain:
    torch.manual_seed(0)

    def loss(outputs: Tensor, numbers: Tensor) -> Tensor:
        return ((outputs - numbers) ** 2).mean()

    return counting_run(ConvNet(1, channels=1), loss=loss)


def accumulating(model: nn.Module, optimizer: torch.optim.Optimizer, *, parts: int, divide: bool) -> Any:
    """A step that updates the weights after every few batches."""
    taken = 0

    def step(batch: Any) -> Tensor:
        nonlocal taken
        model.train()
        images, numbers = batch
        value = squares(model(images), numbers)
        (value / parts if divide else value).backward()
        taken += 1
        if taken % parts == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value.detach()

    return step


def accumulated(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(1, channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = accumulating(model, optimizer, parts=4, divide=True)
    return counting_run(model, batch=16, optimizer=optimizer, step=step)


def accumulated_without_dividing(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(1, channels=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = accumulating(model, optimizer, parts=4, divide=False)
    return counting_run(model, batch=16, optimizer=optimizer, step=step)


def two_optimizers(folders: Folders) -> Plain:
    torch.manual_seed(0)
    model = ConvNet(1, channels=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    of_the_head = torch.optim.Adam([*model.features[3].parameters(), *model.head.parameters()], lr=2e-2)

    def step(batch: Any) -> Tensor:
        model.train()
        images, numbers = batch
        optimizer.zero_grad()
        of_the_head.zero_grad()
        value = squares(model(images), numbers)
        value.backward()
        optimizer.step()
        of_the_head.step()
        return value.detach()

    return counting_run(model, optimizer=optimizer, step=step)


CASES: tuple[Case, ...] = (
    Case(
        "colonies",
        colonies,
        "generated dishes",
        "ConvNet",
        "one number a picture, as a map of one output",
    ),
    Case(
        "every_answer_with_every_count",
        every_answer_with_every_count,
        "generated dishes",
        "ConvNet",
        "deepset-ai/FARM#229: outputs (B, 1) against targets (B,)",
        cause="network.broadcast",
        of="colonies",
    ),
    Case(
        "two_optimizers",
        two_optimizers,
        "generated dishes",
        "ConvNet",
        "a second optimiser of the last layers, which the first one has too",
        cause="optim.twice",
        of="colonies",
    ),
    Case(
        "accumulated",
        accumulated,
        "generated dishes",
        "ConvNet",
        "weights change after every fourth batch only, gradients divided by four",
    ),
    Case(
        "accumulated_without_dividing",
        accumulated_without_dividing,
        "generated dishes",
        "ConvNet",
        "karpathy/nanoGPT#206, hirofumi0810/neural_sp#168: batches added up and not divided",
        cause="optim.accumulation",
        of="accumulated",
        also=("optim.rate_high",),
    ),
)
