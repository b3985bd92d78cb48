"""What the author's step does to the gradients, seen through hooks on parameters and optimisers."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

_SAME = 1e-3  # relative difference below which two sums of gradients are the same: rounding of half precision


class Applied(NamedTuple):
    """One step of an optimiser, and the gradients that it read.

    Attributes:
        optimizer: that stepped.
        call: number of the call of `step` in which it did, from 0.
        backwards: gradients that reached one parameter since the step before.
        calls: calls of `step` in which they did.
        raw_norm: of the sum of these gradients, as backward gave them.
        grad_norm: of what the optimiser read.
        largest: of the absolute values that it read.
        at_largest: share of the values other than 0 that are as large.
        stale: what it read beyond the gradients since the step before, in parts of what that step left; 1 where
            nothing was zeroed, 0 where everything was.
        is_last_only: of several gradients only the last was left.
    """

    optimizer: torch.optim.Optimizer
    call: int
    backwards: int
    calls: int
    raw_norm: float
    grad_norm: float
    largest: float
    at_largest: float
    stale: float
    is_last_only: bool


class _Sum:
    """The gradients of one parameter since its optimiser stepped."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.last: Tensor | None = None
        self.count = 0
        self.first_call = 0
        self.beyond = self.beyond_last = self.held = 0.0  # squared norms
        self.left = 0.0  # of what the step before left, squared

    def add(self, grad: Tensor, call: int) -> None:
        grad = _dense(grad).clone()  # backward may store this very tensor, which clipping changes in its memory
        self.first_call = self.first_call if self.count else call
        self.total = grad if self.total is None else self.total + grad
        self.last = grad
        self.count += 1

    def compare(self, held: Tensor) -> None:
        """Compares what lies in the parameter with what was added since."""
        held = _dense(held)
        if self.total is not None and self.last is not None and held.shape == self.total.shape:
            self.beyond = _square(held - self.total)
            self.beyond_last = _square(held - self.last)
            self.held = _square(held)

    def restart(self) -> None:
        self.total = self.last = None
        self.count = 0
        self.beyond = self.beyond_last = self.held = 0.0


class Watch:
    """Follows the gradients of parameters from backward to the optimiser; made by `watching`.

    Attributes:
        call: number of the call of `step` that is running.
        applied: all steps of optimisers so far that hold one of the parameters.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self.call = 0
        self.applied: list[Applied] = []
        self._sums = {weight: _Sum() for weight in weights}

    def taken(self, call: int) -> tuple[Applied, ...]:
        """The steps of optimisers in one call of `step`."""
        return tuple(one for one in self.applied if one.call == call)

    def add(self, weight: Tensor, grad: Tensor) -> None:
        self._sums[weight].add(grad.detach(), self.call)

    def compare(self, weight: Tensor) -> None:
        if weight.grad is not None:
            self._sums[weight].compare(weight.grad.detach())

    def before_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        weights = self._of(optimizer)
        if not weights:
            return
        sums = [self._sums[weight] for weight in weights]
        grads = [_dense(weight.grad.detach()) for weight in weights if weight.grad is not None]
        first = min((one.first_call for one in sums if one.count), default=self.call)
        beyond, held = sum(one.beyond for one in sums), sum(one.held for one in sums)
        left, backwards = sum(one.left for one in sums if one.count), max(one.count for one in sums)
        is_last_only = backwards > 1 and beyond > _SAME**2 * held
        is_last_only = is_last_only and sum(one.beyond_last for one in sums) <= _SAME**2 * held
        largest, at_largest = _peak(grads)
        self.applied.append(
            Applied(
                optimizer,
                self.call,
                backwards,
                self.call - first + 1,
                sum(_square(one.total) for one in sums if one.total is not None) ** 0.5,
                sum(map(_square, grads)) ** 0.5,
                largest,
                at_largest,
                (beyond / left) ** 0.5 if left else 0.0,
                is_last_only,
            )
        )

    def after_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        for weight in self._of(optimizer):
            self._sums[weight].restart()
            self._sums[weight].left = 0.0 if weight.grad is None else _square(_dense(weight.grad.detach()))

    def _of(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        held = {weight: None for group in optimizer.param_groups for weight in group["params"]}
        return [weight for weight in held if weight in self._sums]


@contextmanager
def watching(weights: Iterable[Tensor]) -> Iterator[Watch]:
    """Follows the gradients of these parameters inside the context; hooks are removed afterwards.

    Example:
        >>> layer = torch.nn.Linear(1, 1, bias=False)
        >>> sgd = torch.optim.SGD(layer.parameters(), lr=0.1)
        >>> with watching(layer.parameters()) as watch:
        ...     for watch.call in range(2):
        ...         layer(torch.ones(1, 1)).sum().backward()
        ...         sgd.step()
        >>> [(one.raw_norm, one.grad_norm, one.stale) for one in watch.applied]
        [(1.0, 1.0, 0.0), (1.0, 2.0, 1.0)]
    """
    trained = [weight for weight in weights if weight.requires_grad]
    watch = Watch(trained)
    with ExitStack() as hooks:
        for weight in trained:
            hooks.callback(weight.register_hook(lambda grad, weight=weight: watch.add(weight, grad)).remove)
            hooks.callback(weight.register_post_accumulate_grad_hook(watch.compare).remove)
        hooks.callback(register_optimizer_step_pre_hook(watch.before_step).remove)
        hooks.callback(register_optimizer_step_post_hook(watch.after_step).remove)
        yield watch


def _dense(value: Tensor) -> Tensor:
    return value.to_dense() if value.is_sparse else value


def _square(value: Tensor) -> float:
    return float(value.float().square().sum())


def _peak(grads: list[Tensor]) -> tuple[float, float]:
    """The largest absolute value, and the share of those other than 0 that are as large."""
    largest = max((float(grad.abs().max()) for grad in grads if grad.numel()), default=0.0)
    if largest == 0:
        return 0.0, 0.0
    equal = sum(int((grad.abs() >= largest * (1 - 1e-6)).sum()) for grad in grads)
    return largest, equal / sum(int((grad != 0).sum()) for grad in grads)
