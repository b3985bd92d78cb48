"""Statistics of batch norm for averaged weights, computed anew while a run is young.

The running statistics follow weights that still move fast, and lag behind them: in its first 24 steps a ResNet-18 had
validation losses of 120 to 1000 beside training losses of 5 to 8, with averaged weights and without, and of 3 to 18
with statistics of its present weights. So the averaged network gets means over a few training batches with its weights
held still: Izmailov et al. 2018 (arXiv:1803.05407) do so for averaged weights, over the whole set, Wu and Johnson 2021
(arXiv:2105.07576) for the early epochs of any training. Later the average of the running statistics is kept; so it is
where a norm would see fewer than LEAST values a channel, such as of two images of one position each: a channel that is
constant in these by chance would be divided by nothing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.ops.targets import check_classes
from unpool.training.job import Job, lay_out
from unpool.training.step import Step
from unpool.types import Batch

YOUNG = 100  # steps; ten times the window of running statistics of momentum 0.1
BATCHES = 8
LEAST = 100  # values of a channel; the variance of as many is off by 14 %, the root of 2 / LEAST
_log = logging.getLogger(__name__)


def recalibrate(job: Job, batches: Iterable[Batch]) -> None:
    """Puts the statistics of the averaged network over the first BATCHES of the batches into the average.

    Does nothing where the job does not average, or has taken YOUNG steps. Norms that do not train keep theirs.

    Args:
        job: in training mode; its trained weights and statistics, modes and generators are left as they are.
        batches: of the training loader, each at least as large as training allows.
    """
    if job.averaging is None or job.counters.step >= YOUNG:
        return
    norms = _training_norms(job)
    if not norms:
        return
    with _restored(job, norms), job.averaging.applied(job.learned), torch.no_grad():  # the average's own tensors
        before = [[value.clone() for value in _statistics(norm)] for norm in norms]
        least = _compute(job, norms, batches)
        if least < LEAST:
            _log.info("statistics of batch norm stay as they are, since %d values of a channel give none", least)
            for norm, statistics in zip(norms, before, strict=True):
                for value, kept in zip(_statistics(norm), statistics, strict=True):
                    value.copy_(kept)


def _compute(job: Job, norms: Sequence[_BatchNorm], batches: Iterable[Batch]) -> int:
    """Means over the batches; returns how many values of a channel the norm saw that saw the fewest."""
    step = Step(job.model, job.task, precision=job.precision, device=job.device).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None  # the mean over all batches
    with _counting(norms) as counts:
        for batch in islice(batches, BATCHES):
            if job.num_classes is not None:
                check_classes(batch, job.num_classes, names=job.names)
            step(lay_out(job.prepare(batch), job.memory_format))
    return min(counts.values())


@contextmanager
def _restored(job: Job, norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Puts back modes, momenta and counts of batches."""
    kept = [(norm, norm.momentum, _batches_seen(norm), _batches_seen(norm).clone()) for norm in norms]
    modes = {module: module.training for module in job.learned.modules()}
    try:
        yield
    finally:
        for norm, momentum, seen, count in kept:
            norm.momentum = momentum
            seen.copy_(count)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _counting(norms: Sequence[_BatchNorm]) -> Iterator[dict[nn.Module, int]]:
    """Inside, the values of a channel that each norm saw so far."""
    counts: dict[nn.Module, int] = dict.fromkeys(norms, 0)

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        counts[norm] += inputs[0].numel() // inputs[0].shape[1]

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _batches_seen(norm: _BatchNorm) -> Tensor:
    return cast(Tensor, norm.num_batches_tracked)


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)


def warn_of_statistics(job: Job) -> list[str]:
    """A warning where a run ends while the running statistics of batch norm lag behind the weights."""
    if job.averaging is not None or job.total_steps >= YOUNG or not _training_norms(job):
        return []
    return [
        f"the run takes {job.total_steps} steps, and the running statistics of batch norm lag behind the weights for "
        f"about {YOUNG}: the validation loss may lie far above the training loss; train longer, or set train.ema=0.9, "
        "for which they are computed anew"
    ]


def _training_norms(job: Job) -> list[_BatchNorm]:
    """Those that keep running statistics."""
    norms = [module for module in job.learned.modules() if isinstance(module, _BatchNorm) and module.training]
    return [norm for norm in norms if norm.num_batches_tracked is not None]
