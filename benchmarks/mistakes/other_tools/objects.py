"""A run in plain objects in the forms that the tools take: one batch, pairs of inputs and targets, steps of a loop."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from benchmarks.mistakes.case import Plain

BATCH = 16  # samples, where a case has a data set without a loader
STEPS, STEPS_S = 60, 10.0  # of a running loop, at most so many and so many processor seconds


class Finding(NamedTuple):
    """What a tool reports: which check, how grave (failure, warning or note), and its words."""

    check: str
    level: str
    about: str


class Watched(dict):
    """A batch that remembers which of its keys were read."""

    def __init__(self, batch: Mapping[str, Any]) -> None:
        super().__init__(batch)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)


class Run:
    """The objects of a case, and what its author would write around them for any tool.

    Args:
        plain: the case as it was made.
    """

    def __init__(self, plain: Plain) -> None:
        known = plain.arguments
        self.arguments = known
        self.model: nn.Module = known["model"]
        self.optimizer: torch.optim.Optimizer = known["optimizer"]
        self.train, self.val = batched(known["train"]), batched(known["val"])
        torch.manual_seed(0)
        self.batch = next(iter(self.train))

    @property
    def frozen(self) -> list[str]:
        """Modules that their author declared frozen, whether that had an effect or not."""
        return [name for name, module in self.model.named_modules() if vars(module).get("requires_grad") is False]

    @property
    def is_plain(self) -> bool:
        """Whether the network takes the first part of a batch, and the loss the second."""
        return not isinstance(self.batch, Mapping) and "forward" not in self.arguments

    def forward(self, batch: Any) -> Any:
        """The outputs for a batch."""
        if "forward" in self.arguments:
            return self.arguments["forward"](self.model, batch)
        return self.model(batch["image"] if isinstance(batch, Mapping) else batch[0])

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss as one number; of a dict of losses their sum."""
        value = self.arguments["loss"](outputs, targets)
        return torch.stack(list(value.values())).sum() if isinstance(value, Mapping) else value

    def inputs_of(self, batch: Any) -> Any:
        """What the outputs are computed from: the first part of a pair, of a dict those keys that are read for them."""
        return {key: batch[key] for key in self._input_keys()} if isinstance(batch, Mapping) else batch[0]

    def outputs_of(self, inputs: Any) -> Any:
        """The outputs for what `inputs_of` returns."""
        return self.forward(inputs if isinstance(self.batch, Mapping) else (inputs, None))

    def targets_of(self, batch: Any) -> Any:
        """What the loss is computed from, beside outputs: of a dict, all of it."""
        if isinstance(batch, Mapping):
            return batch
        return batch[1] if len(batch) == 2 else tuple(batch[1:])

    def target_keys(self) -> list[str]:
        """The keys of a batch that the loss reads."""
        watched = Watched(self.batch)
        with torch.no_grad(), evaluating(self.model):
            self.loss(self.forward(self.batch), watched)
        return [key for key in self.batch if key in watched.read]

    def _input_keys(self) -> list[str]:
        if "forward" not in self.arguments:
            return ["image"]
        watched = Watched(self.batch)
        with torch.no_grad(), evaluating(self.model):
            self.forward(watched)
        return [key for key in self.batch if key in watched.read]

    def steps(self, backward: Callable[[Tensor], None] = Tensor.backward) -> Iterator[Callable[[], None]]:
        """The steps of the training loop, each to be called: the author's, or the usual one with `backward`."""
        start, done = time.process_time(), 0
        schedule = self.arguments.get("schedule")
        while True:
            for batch in self.train:
                if done == STEPS or time.process_time() - start > STEPS_S:
                    return
                yield self._step(batch, backward)
                done += 1
            if schedule is not None and "step" not in self.arguments:
                schedule.step()

    def _step(self, batch: Any, backward: Callable[[Tensor], None]) -> Callable[[], None]:
        if "step" in self.arguments:
            return lambda: self.arguments["step"](batch)

        def step() -> None:
            self.optimizer.zero_grad()
            backward(self.loss(self.forward(batch), self.targets_of(batch)))
            self.optimizer.step()

        return step


class evaluating:  # noqa: N801 (a context manager)
    """The model in evaluation mode; its layers' modes are restored afterwards."""

    def __init__(self, model: nn.Module) -> None:
        self.modes = [(module, module.training) for module in model.modules()]

    def __enter__(self) -> None:
        self.modes[0][0].eval()

    def __exit__(self, *_: object) -> None:
        for module, mode in self.modes:
            module.training = mode


class Rows:
    """Several tensors by name, which are cut together, as a tool cuts a batch."""

    def __init__(self, **columns: Any) -> None:
        self.columns = columns

    def __getitem__(self, rows: slice) -> "Rows":
        return Rows(**{name: values[rows] for name, values in self.columns.items()})


class Pairs:
    """Batches of a run as pairs (inputs, targets), as a user of a tool that takes no others would wrap them."""

    def __init__(self, run: Run, batches: Any) -> None:
        self.batches, self.run = batches, run
        self.targets = run.target_keys() if isinstance(run.batch, Mapping) else []
        if isinstance(batches, DataLoader):
            self.dataset = batches.dataset

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for batch in self.batches:
            if isinstance(batch, Mapping):
                yield joined(self.run.inputs_of(batch)), joined({key: batch[key] for key in self.targets})
            else:
                yield batch[0], self.run.targets_of(batch)


class Wrapped(nn.Module):
    """The network of a run whose author has a `forward`, for what `Pairs` yields."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.model, self.run = run.model, run

    def forward(self, inputs: Any) -> Any:
        return self.run.outputs_of(parted(inputs, self.run.inputs_of(self.run.batch)))


def joined(columns: Mapping[str, Any]) -> Any:
    """The only tensor of some, or all of them in one object that can be cut."""
    return next(iter(columns.values())) if len(columns) == 1 else Rows(**columns)


def parted(value: Any, like: Any) -> Any:
    """What `joined` was made of: a dict of the keys of `like`, where that is a dict."""
    if not isinstance(like, Mapping):
        return value
    return value.columns if isinstance(value, Rows) else {next(iter(like)): value}


def batched(data: Any) -> Any:
    """The batches as they are, or a loader of a set of single samples."""
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return DataLoader(data, BATCH, shuffle=True, generator=torch.Generator().manual_seed(0))
    return data
