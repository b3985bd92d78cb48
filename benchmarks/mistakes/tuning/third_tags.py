"""Several tags a picture: which shapes stand in it, by a small residual network."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.mistakes.case import Case, Folders, Plain

TAGS = ("circle", "square", "triangle", "cross", "ring", "stripes")
SIDE = 40


def shape(draw: ImageDraw.ImageDraw, tag: str, rng: np.random.Generator) -> None:
    """One thing of a tag, anywhere, in any colour that is lighter than the ground."""
    size = int(rng.integers(9, 14))
    x, y = (int(v) for v in rng.integers(1, SIDE - size - 1, 2))
    colour = tuple(int(v) for v in rng.integers(130, 256, 3))
    box = (x, y, x + size, y + size)
    if tag == "circle":
        draw.ellipse(box, fill=colour)
    elif tag == "ring":
        draw.ellipse(box, outline=colour, width=2)
    elif tag == "square":
        draw.rectangle(box, fill=colour)
    elif tag == "triangle":
        draw.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=colour)
    else:
        draw.line((x, y, x + size, y + size), fill=colour, width=2)
        draw.line((x, y + size, x + size, y), fill=colour, width=2)


def picture(flags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = Image.new("RGB", (SIDE, SIDE), tuple(int(v) for v in rng.integers(0, 70, 3)))
    draw = ImageDraw.Draw(image)
    if flags[5]:
        for row in range(int(rng.integers(0, 6)), SIDE, 6):
            draw.line((0, row, SIDE, row), fill=(95, 95, 95))
    for index in rng.permutation(5):
        if flags[index]:
            shape(draw, TAGS[index], rng)
    return np.asarray(image) + rng.normal(0, 5, (SIDE, SIDE, 3))


def tagged(count: int, seed: int) -> TensorDataset:
    rng = np.random.default_rng(seed)
    flags = rng.random((count, len(TAGS))) < 0.22
    flags[np.arange(count), rng.integers(0, len(TAGS), count)] |= ~flags.any(1)
    pictures = np.stack([picture(one, rng) for one in flags]).clip(0, 255) / 255
    images = torch.from_numpy(pictures).float().permute(0, 3, 1, 2).contiguous()
    return TensorDataset((images - 0.25) / 0.25, torch.from_numpy(flags).float())


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.short = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.short(x))


def network(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        Block(3, 24, 2),
        Block(24, 48, 2),
        Block(48, 96, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, len(TAGS)),
        *last,
    )


class MacroF1:
    """The mean of the tags' F1, counted over the set."""

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        self.both, self.said, self.true = (torch.zeros(len(TAGS)) for _ in range(3))

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        said = (outputs > self.threshold).float()
        self.both += (said * targets).sum(0)
        self.said += said.sum(0)
        self.true += targets.sum(0)

    def compute(self) -> float:
        return float((2 * self.both / (self.said + self.true).clamp(min=1)).mean())


class ShareOfFlags:
    """The share of flags that are right."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.right = self.total = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.right += int(((outputs > 0) == (targets > 0.5)).sum())
        self.total += targets.numel()

    def compute(self) -> float:
        return self.right / max(self.total, 1)


def scored(model: nn.Module, loader: DataLoader, metric: Any) -> float:
    model.eval()
    metric.reset()
    with torch.no_grad():
        for images, flags in loader:
            metric.update(model(images), flags)
    return metric.compute()


def run(
    folders: Folders,
    *,
    last: tuple[nn.Module, ...] = (),
    loss: Callable[[Tensor, Tensor], Tensor] = functional.binary_cross_entropy_with_logits,
    metric: type = MacroF1,
    threshold: float | None = None,
    left_evaluating: bool = False,
) -> Plain:
    torch.manual_seed(0)
    train = DataLoader(tagged(512, 1), 16, shuffle=True, drop_last=True, generator=torch.Generator().manual_seed(0))
    val = DataLoader(tagged(160, 2), 32)
    model = network(*last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4, nesterov=True)
    measure = metric() if threshold is None else metric(threshold)
    if left_evaluating:
        scored(model, val, measure)  # a look at the score before the first step

    def step(batch: tuple[Tensor, Tensor]) -> Tensor:
        if not left_evaluating:
            model.train()
        images, flags = batch
        optimizer.zero_grad(set_to_none=True)
        value = loss(model(images), flags)
        value.backward()
        optimizer.step()
        return value.detach()

    arguments = {
        "model": model,
        "train": train,
        "val": val,
        "loss": loss,
        "optimizer": optimizer,
        "step": step,
        "metric": measure,
        "evaluate": partial(scored, metric=measure),
        "epochs": 15,
        "classes": TAGS,
        "task": "classification",
    }
    return Plain(arguments)


HEALTHY = "tags_of_shapes"
planted = partial(Case, data="generated shapes with tags", network="small residual network", of=HEALTHY)

CASES: tuple[Case, ...] = (
    Case(
        HEALTHY,
        run,
        "generated shapes with tags",
        "small residual network",
        "several classes a picture: flags as floats, a sigmoid a class, F1 over the set",
    ),
    planted(
        "tags_by_softmax",
        partial(run, loss=functional.cross_entropy),
        cause="loss.wrong_kind",
        source="ThilinaRajapakse/simpletransformers #101: cross-entropy of a softmax takes float flags without a word",
    ),
    planted(
        "tags_sigmoid_in_network_and_loss",
        partial(run, last=(nn.Sigmoid(),), threshold=0.5),
        cause="network.double_softmax",
        source="PacktPublishing/PyTorch-Ultimate-2023 pull 3: a network that ends in a sigmoid under BCEWithLogitsLoss",
    ),
    planted(
        "tags_share_of_right_flags",
        partial(run, metric=ShareOfFlags),
        cause="metric.rewards_constant",
        source="people take Keras's binary accuracy to several labels; no tag at all scores near 0.8",
    ),
    planted(
        "tags_loss_summed",
        partial(run, loss=partial(functional.binary_cross_entropy_with_logits, reduction="sum")),
        cause="loss.scale",
        source="papers on many labels (asymmetric loss, Ridnik et al. 2021) sum over the flags; with it the rate of "
        "a mean "
        "is 96 times too high under SGD",
        also=("optim.rate_high",),
    ),
    planted(
        "tags_left_in_eval_after_first_look",
        partial(run, left_evaluating=True),
        cause="norm.frozen",
        source="torch's documentation of Module.eval: validation sets the mode, the loop of training never sets it "
        "back",
    ),
)
