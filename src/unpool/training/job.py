"""The parts of one training run, and the counters of its progress."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import nn

from unpool.task import Task
from unpool.training.averaging import Averaging
from unpool.training.stopping import StopRequest
from unpool.types import Batch, Part

Precision = Literal["float32", "bfloat16", "float16"]
MemoryFormat = Literal["contiguous", "channels_last"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class BatchSource(Protocol):
    """What the loop asks of a loader.

    Attributes:
        steps_per_epoch: batches in one epoch.
        waited_s: seconds the loop has waited for batches so far.
        ready_s: seconds that finished batches have waited for the loop so far.
    """

    @property
    def steps_per_epoch(self) -> int: ...
    @property
    def waited_s(self) -> float: ...
    @property
    def ready_s(self) -> float: ...
    def stream(self, epoch: int, position: int, epochs: int) -> Iterator[Batch]: ...
    def close(self) -> None: ...


@dataclass(kw_only=True)
class Counters:
    """The progress of a run.

    Attributes:
        step: optimiser steps taken or skipped.
        epoch: epochs finished, their evaluation included.
        position: batches used of the current epoch; the whole epoch where only its evaluation is left to do.
        images: images seen in training.
        skipped: steps left out because a gradient was not finite.
        skipped_in_a_row: the same, since the last step taken.
        replaced: images that could not be read and were replaced by others.
        unreadable: names of those images.
        rate_factor: of the schedule's rate, below 1 once what is measured has stopped improving, see `patience`.
        is_ended: whether the run is over before its last epoch, for the same reason.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    images: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    replaced: int = 0
    unreadable: list[str] = field(default_factory=list)
    rate_factor: float = 1.0
    is_ended: bool = False


class StepRecord(NamedTuple):
    """What one optimiser step was like.

    Attributes:
        step: number of this step, the first being 1.
        epoch: epoch it belongs to, the first being 0.
        loss: what was minimised.
        terms: each named part of the loss, before its weight.
        gradient_norm: length of the whole gradient before clipping.
        images: images in all its batches.
        taken: False where the gradient was not finite and the weights were left alone.
    """

    step: int
    epoch: int
    loss: float
    terms: dict[str, float]
    lr: float
    gradient_norm: float
    images: int
    taken: bool


def _same(batch: Batch) -> Batch:
    return batch


def whole(epoch: int, position: int) -> None:
    """The part of a process by itself, which has the whole batch."""
    return


@dataclass(kw_only=True, eq=False)
class Job:
    """One training run: its parts, its settings, its counters. What is learned is moved to `device` and laid out.

    Attributes:
        schedule: number of steps already taken -> learning rate.
        epochs: passes over the loader.
        prepare: uint8 batch of the loader -> float batch on `device`.
        accumulate: batches in one optimiser step; the last step of an epoch takes what is left.
        clip_norm: longest gradient; None leaves it alone.
        names: name of each sample by `index`, for messages.
        most_unreadable: images that may be replaced; a run of which more cannot be read ends.
        num_classes: `label`, `labels` and `mask` are checked against it on the host; None does not check.
        averaging: None trains without averaged weights.
        stop: asked after every step and every evaluated batch.
        part: (epoch, position) -> which part of the whole batch this process takes; None of a process by itself.
        synchronizes_norms: whether batch norm takes its statistics from the batch of all processes.
        statistics: of batch norm, by their names in `learned`, that replace the running ones after training, see
            `norms`; empty before.
    """

    model: nn.Module
    task: Task
    optimizer: torch.optim.Optimizer
    schedule: Callable[[int], float]
    loader: BatchSource
    epochs: int
    prepare: Callable[[Batch], Batch] = _same
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = "float32"
    memory_format: MemoryFormat = "contiguous"
    accumulate: int = 1
    clip_norm: float | None = None
    seed: int = 0
    names: Sequence[str] = ()
    most_unreadable: int = 0
    num_classes: int | None = None
    averaging: Averaging | None = None
    counters: Counters = field(default_factory=Counters)
    stop: StopRequest = field(default_factory=StopRequest)
    part: Callable[[int, int], Part | None] = whole
    synchronizes_norms: bool = False
    statistics: dict[str, torch.Tensor] = field(default_factory=dict)
    scaler: torch.amp.GradScaler = field(init=False)

    def __post_init__(self) -> None:
        move(self.learned, self.device, memory_format=self.memory_format)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")

    @property
    def learned(self) -> nn.ModuleDict:
        """The model and the task as one module: what is trained, averaged, saved and resumed."""
        return nn.ModuleDict({"model": self.model, "task": self.task})

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return -(-self.loader.steps_per_epoch // self.accumulate)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.epochs


def move(model: nn.Module, device: torch.device, *, memory_format: MemoryFormat) -> nn.Module:
    """The same model with its weights on `device`, four-dimensional ones laid out as asked."""
    layout = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    return model.to(device=device).to(memory_format=layout)  # type: ignore[call-overload]


def lay_out(batch: Batch, memory_format: MemoryFormat) -> Batch:
    """The batch with `image` (B, C, H, W) laid out as the model's weights.

    Images of several sizes, a list of (C, H, W), have no such layout and stay as they are.
    """
    image = batch.get("image")
    if memory_format == "contiguous" or not isinstance(image, torch.Tensor) or image.dim() != 4:
        return batch
    return {**batch, "image": image.contiguous(memory_format=torch.channels_last)}


@contextmanager
def streamed(loader: BatchSource, epoch: int, position: int, *, epochs: int) -> Iterator[Iterator[Batch]]:
    """The loader's stream; a stream left half-way gives its threads and workers back at once."""
    stream = loader.stream(epoch, position, epochs)
    try:
        yield stream
    finally:
        if isinstance(stream, Generator):
            stream.close()


def count_images(batch: Batch) -> int:
    """Samples in a batch, by its first value, a tensor or a list."""
    return len(next(iter(batch.values())))


def to_device(value: Any, device: torch.device, *, key: str) -> Any:
    """A batch value on `device`: a tensor, or a list of values to any depth.

    Raises:
        TypeError: something else is in it, under `key`.
    """
    if isinstance(value, list):
        return [to_device(item, device, key=key) for item in value]
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{key} of a batch is or holds a {type(value).__name__}; a value must be a tensor of B samples or a list "
            "of B tensors: make a tensor of it in the reader, or leave it out"
        )
    return value.to(device, non_blocking=True)
