"""A run small enough for tests: its own loader, task and network, made of plain torch."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from unpool.task import Description
from unpool.tasks.one_forward import OneForward
from unpool.training.averaging import Averaging, EqualAveraging
from unpool.training.job import Job
from unpool.training.optim import build_optimizer
from unpool.training.schedules import build_schedule
from unpool.types import Batch, Losses, Prediction, Term

SAMPLES, CLASSES = 22, 3


class Loader:
    """Batches of a fixed random set; their order is a pure function of (seed, epoch)."""

    def __init__(self, *, count: int = SAMPLES, batch: int = 4, seed: int = 0, shuffle: bool = True) -> None:
        generator = torch.Generator().manual_seed(7)
        self.image = torch.randint(0, 256, (count, 1, 6, 6), dtype=torch.uint8, generator=generator)
        self.label = torch.randint(0, CLASSES, (count,), generator=generator)
        self.batch, self.seed, self.shuffle = batch, seed, shuffle
        self.waited_s = 0.0
        self.ready_s = 0.0
        self.closed = False
        self.served: list[tuple[int, int]] = []

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.label) / self.batch)

    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]:
        for number in range(epoch, epochs):
            generator = torch.Generator().manual_seed(self.seed * 1000 + number)
            count = len(self.label)
            order = torch.randperm(count, generator=generator) if self.shuffle else torch.arange(count)
            for place in range(position if number == epoch else 0, self.steps_per_epoch):
                index = order[place * self.batch : (place + 1) * self.batch]
                self.served.append((number, place))
                yield {"image": self.image[index], "label": self.label[index], "index": index}

    def close(self) -> None:
        self.closed = True


class Accuracy:
    def __init__(self) -> None:
        self.right, self.count = 0, 0

    def update(self, prediction: Prediction, batch: Batch) -> None:
        self.right += int((prediction["label"] == batch["label"]).sum())
        self.count += len(batch["label"])

    def merge(self, other: Any) -> None:
        self.right, self.count = self.right + other.right, self.count + other.count

    def compute(self) -> dict[str, Any]:
        return {"top1": self.right / self.count}


class Task(OneForward):
    needs = ("image", "label")
    best = "top1"
    outputs = CLASSES
    described = {"top1": Description("accuracy", is_share=True)}  # noqa: RUF012

    def forward(self, model: nn.Module, inputs: Batch) -> Tensor:
        return model(inputs["image"])

    def loss(self, output: Tensor, batch: Batch) -> Losses:
        count = torch.tensor(float(len(output)), device=output.device)
        return {"entropy": Term(nn.functional.cross_entropy(output, batch["label"], reduction="sum"), count)}

    def decode(self, output: Tensor, inputs: Batch) -> Prediction:
        return {"label": output.argmax(1)}

    def metric(self) -> Accuracy:
        return Accuracy()

    def record(self, prediction: Prediction) -> dict[str, Any]:
        return {"label": int(prediction["label"])}

    def draw(self, image: Tensor, target: Any) -> Tensor:
        return image


class Broken(Task):
    """A loss that is not finite in the given call."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call, self.calls = call, 0

    def loss(self, output, batch):
        self.calls += 1
        factor = float("nan") if self.calls == self.call else 1.0
        return {"entropy": Term(output.sum() * factor, torch.tensor(float(len(output))))}


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, CLASSES)
    )


def prepare(batch: Batch) -> Batch:
    return {**batch, "image": batch["image"].float() / 255}


def make_job(*, epochs: int = 2, ema: float | None = None, optimizer: str = "sgd", lr: float = 0.1, **settings) -> Job:
    model = settings.pop("model", None) or network()
    loader = settings.pop("loader", None) or Loader()
    accumulate = settings.get("accumulate", 1)
    swa = settings.pop("swa", None)
    averaging = None if ema is None else Averaging(ema)
    total = -(-loader.steps_per_epoch // accumulate) * epochs
    return Job(
        model=model,
        task=settings.pop("task", None) or Task(),
        optimizer=build_optimizer(model, name=optimizer, lr=lr, momentum=0.9, weight_decay=1e-3),
        schedule=build_schedule("cosine", lr=lr, total_steps=total, warmup_steps=1),
        loader=loader,
        epochs=epochs,
        prepare=prepare,
        averaging=averaging if swa is None else EqualAveraging(swa),
        names=[f"image_{i}.png" for i in range(SAMPLES)],
        **settings,
    )


def weights(job: Job) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in job.model.state_dict().items()}


def same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
