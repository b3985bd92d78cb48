"""Puts model, optimiser, schedule and generators back, bit for bit, after they were tried."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from unpool.data.seeding import shared_restored


@contextmanager
def unchanged(
    *modules: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    schedule: LRScheduler | None = None,
) -> Iterator[None]:
    """A context after which all are as they were: weights, buffers, gradients, modes, what is trained, generators.

    What a caller's own code keeps elsewhere, such as a scaler or an average of weights, is not known here.

    Args:
        modules: to restore.
        optimizer: its state and groups are restored too.
        schedule: its counters are restored too.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
        >>> before = layer.weight.clone()
        >>> with unchanged(layer, optimizer=sgd):
        ...     layer(torch.ones(1, 1)).sum().backward()
        ...     sgd.step()
        >>> torch.equal(layer.weight, before), layer.weight.grad, len(sgd.state)
        (True, None, 0)
    """
    weights = {weight: _Weight(weight) for module in modules for weight in module.parameters()}
    if optimizer is not None:  # it may hold others
        weights |= {w: _Weight(w) for group in optimizer.param_groups for w in group["params"] if w not in weights}
    buffers = {buffer: buffer.clone() for module in modules for buffer in module.buffers()}
    modes = {part: part.training for module in modules for part in module.modules()}
    state = None if optimizer is None else _OptimizerState(optimizer)
    counters = None if schedule is None else copy.deepcopy(schedule.state_dict())
    devices = sorted({weight.device.index or 0 for weight in weights if weight.device.type == "cuda"})
    try:
        with shared_restored(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        for value in weights.values():
            value.restore()
        with torch.no_grad():
            for buffer, kept in buffers.items():
                buffer.copy_(kept)
        for part, mode in modes.items():
            part.training = mode
        if state is not None:
            state.restore()
        if schedule is not None and counters is not None:
            schedule.load_state_dict(counters)


class _Weight:
    def __init__(self, weight: Tensor) -> None:
        self.weight = weight
        self.value = weight.detach().clone()
        self.grad = weight.grad
        self.grad_value = None if weight.grad is None else weight.grad.detach().clone()
        self.is_trained = weight.requires_grad

    def restore(self) -> None:
        with torch.no_grad():
            self.weight.copy_(self.value)
        self.weight.grad = self.grad
        if self.grad is not None and self.grad_value is not None:
            self.grad.detach().copy_(self.grad_value)
        self.weight.requires_grad_(self.is_trained)


class _OptimizerState:
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.groups = [{**group, "params": list(group["params"])} for group in optimizer.param_groups]
        self.rates = [_copied(group) for group in self.groups]
        self.state = {weight: _copied(values) for weight, values in optimizer.state.items()}
        self.objects = {weight: dict(values) for weight, values in optimizer.state.items()}

    def restore(self) -> None:
        for group, kept, values in zip(self.optimizer.param_groups, self.groups, self.rates, strict=False):
            group.clear()
            group.update(kept)
            for key, value in values.items():  # a rate may be a tensor, which is changed in its memory
                _put_back(group, key, value)
        del self.optimizer.param_groups[len(self.groups) :]
        for weight in [one for one in self.optimizer.state if one not in self.state]:
            del self.optimizer.state[weight]
        for weight, values in self.state.items():
            self.optimizer.state[weight] = self.objects[weight]
            for key, value in values.items():
                _put_back(self.optimizer.state[weight], key, value)


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if key != "params"}
    return {key: value.detach().clone() if isinstance(value, Tensor) else value for key, value in kept.items()}


def _put_back(values: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, Tensor) and isinstance(values.get(key), Tensor):
        values[key].detach().copy_(value)
    else:
        values[key] = value
