"""Running statistics of batch norm: how fast they follow, and exact ones after training.

Exact ones are those of Wu and Johnson 2021 (arXiv:2105.07576), section 3: with the weights held still, each norm takes
the mean of its inputs and of their squares over all batches, which has the spread between batches that a mean of the
batches' variances misses. Each norm normalises by its batch meanwhile, as in training; dropout is off, as in
evaluation, for which the statistics are. Batches of more values count more, and the variance is that of all values,
divided by their number.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.errors import RecipeError
from unpool.training import processes
from unpool.training.averaging import Averaging
from unpool.training.calibration import restored, statistics_of, training_norms
from unpool.training.job import Job, lay_out, streamed
from unpool.training.loop import check_stop
from unpool.training.step import step_of


def set_momentum(model: nn.Module, momentum: float | None) -> None:
    """Sets the share of a new batch in every running statistic; None makes it the mean over all batches from here on.

    Raises:
        RecipeError: the network has no batch norm.
    """
    for norm in require_norms(model, "train.norm_momentum"):
        norm.momentum = momentum
        if momentum is None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.zero_()  # those of loaded weights were of other batches


def require_norms(model: nn.Module, key: str) -> list[_BatchNorm]:
    """The batch norms of a network whose running statistics are trained; those of frozen parts stay as they are.

    Raises:
        RecipeError: there is none, so that `key` would change nothing.
    """
    modes = {module: module.training for module in model.modules()}
    model.train()  # in which frozen parts do not train
    keeping = [module for module in modes if isinstance(module, _BatchNorm) and module.track_running_stats]
    norms = [norm for norm in keeping if norm.training]
    for module, mode in modes.items():
        module.training = mode
    if not norms:
        none = "the network has no batch norm that keeps statistics"
        problem = "every batch norm of the network is frozen" if keeping else none
        raise RecipeError(f"{key} is set and {problem}: leave it out")
    return norms


def precise_statistics(job: Job) -> dict[str, Tensor]:
    """Mean and variance of each norm's inputs over the training set, by their names in `job.learned`.

    The averaged weights are used where the job averages. Weights, statistics and modes stay as they are.

    Raises:
        Stopped, TimeLimit: the job was asked to stop.
    """
    norms = training_norms(job)
    averaging = job.averaging or Averaging(0.0)
    with ExitStack() as stack:
        stack.enter_context(restored(job, norms))
        stack.enter_context(averaging.applied(job.learned))
        stack.enter_context(torch.no_grad())
        sums = stack.enter_context(_summing(list(norms)))
        _run_all(job, list(norms), sums)
    named = {module: name for name, module in job.learned.named_modules()}
    statistics: dict[str, Tensor] = {}
    for norm, total in sums.items():
        count, mean, square = processes.add_up(total).split([1, *2 * [norm.num_features]])
        if count > 0:
            mean = mean / count
            values = {"running_mean": mean, "running_var": (square / count - mean.square()).clamp_min(0)}
            like = statistics_of(norm)[0]
            statistics |= {f"{named[norm]}.{key}": value.to(like) for key, value in values.items()}
    return statistics


def _run_all(job: Job, norms: list[_BatchNorm], sums: dict[_BatchNorm, Tensor]) -> None:
    step = step_of(job).eval()
    for norm in norms:
        norm.train().momentum = 0.0  # running statistics stay
    with streamed(job.loader, 0, 0, epochs=1) as stream:
        for position, batch in enumerate(stream):
            check_stop(job)
            batch.pop("replaced", None)
            part = job.part(0, position)
            before = {norm: total.clone() for norm, total in sums.items()} if part and not part.count else {}
            step(lay_out(job.prepare(batch), job.memory_format), part)
            for norm, total in before.items():  # a sample that stands in does not count
                sums[norm].copy_(total)


@contextmanager
def _summing(norms: list[_BatchNorm]) -> Iterator[dict[_BatchNorm, Tensor]]:
    """Inside, of each norm the number of values a channel, their sum and that of their squares: (1 + 2 C,) float64."""
    sums = {
        norm: torch.zeros(1 + 2 * norm.num_features, dtype=torch.float64, device=statistics_of(norm)[0].device)
        for norm in norms
    }

    def add(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        value = inputs[0].float()
        axes = [axis for axis in range(value.dim()) if axis != 1]
        count = value.numel() // value.shape[1]
        var, mean = (part.double() for part in torch.var_mean(value, axes, correction=0))
        sums[norm] += torch.cat([mean.new_tensor([count]), count * mean, count * (var + mean.square())])

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def with_statistics(job: Job) -> Iterator[None]:
    """A context in which the network has the job's exact statistics, where it has some."""
    held = job.learned.state_dict()
    before = {name: held[name].clone() for name in job.statistics}
    with torch.no_grad():
        for name, value in job.statistics.items():
            held[name].copy_(value)
        try:
            yield
        finally:
            for name, value in before.items():
                held[name].copy_(value)
