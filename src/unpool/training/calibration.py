"""Statistics of batch norm for averaged weights, computed anew while a run is young.

The running statistics follow weights that still move fast, and lag behind them: in its first 24 steps a ResNet-18 had
validation losses of 120 to 1000 beside training losses of 5 to 8, with averaged weights and without, and of 3 to 18
with statistics of its present weights. So the averaged network gets means over a few training batches with its weights
held still: Izmailov et al. 2018 (arXiv:1803.05407) do so for averaged weights, over the whole set, Wu and Johnson 2021
(arXiv:2105.07576) for the early epochs of any training. Later the average of the running statistics is kept.

A norm that sees few values of a channel, one an image behind a global pooling, reads on until it saw LEAST, with other
augmentations through EPOCHS epochs of a small set: a channel that is constant in a few values by chance would be
divided by nothing. Where the set has too few for that, the norm keeps its average, which is warned of, and the others
see what it answers with that.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.ops.targets import check_classes
from unpool.training import processes
from unpool.training.averaging import EqualAveraging
from unpool.training.job import Job, lay_out
from unpool.training.step import step_of
from unpool.types import Batch

YOUNG = 10.0  # windows of running statistics, of 1 / momentum steps each: what was there before has a share of e^-10
WINDOW = 10.0  # steps of torch's momentum 0.1
BATCHES = 8
EPOCHS = 10
LEAST = 100  # values of a channel; the variance of as many is off by 14 %, the root of 2 / LEAST


def recalibrate(job: Job, batches: Callable[[int], Iterable[Batch]]) -> list[str]:
    """Puts the statistics of the averaged network over a few batches into the average; returns warnings.

    Does nothing where the job does not average, or is no longer young, see `young_steps`; weights that were far apart
    and count equally get statistics of their mean at any time. Norms that do not train keep theirs.

    Args:
        job: in training mode; its trained weights and statistics, modes and generators are left as they are.
        batches: epoch -> batches of the training set, each at least as large as training allows; as many are read as
            statistics need, at least BATCHES or an epoch and at most EPOCHS epochs.
    """
    averaging = job.averaging
    if averaging is None or not averaging.averages:
        return []
    norms = training_norms(job)
    if not norms or (job.counters.step >= young_steps(norms) and not isinstance(averaging, EqualAveraging)):
        return []
    with restored(job, norms), averaging.applied(job.learned), torch.no_grad():  # the average's own tensors
        counts = _compute(job, norms, batches)
        poor = {norms[norm]: count for norm, count in counts.items() if 0 < count < LEAST}
        if 0 < len(poor) < len(norms):
            _compute(job, [norm for norm, name in norms.items() if name not in poor], batches)
    return _warn_of_few_values(poor, young_steps(norms))


def _compute(
    job: Job, norms: Collection[_BatchNorm], batches: Callable[[int], Iterable[Batch]]
) -> dict[_BatchNorm, int]:
    """Gives norms that see LEAST values of a channel their means over the batches; returns how many each saw."""
    before = [(norm, [value.clone() for value in statistics_of(norm)]) for norm in norms]
    step = step_of(job).eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None  # the mean over all batches
    seen = dict.fromkeys(norms, 0)
    with _counting(norms) as counts:
        for number, batch in enumerate(chain.from_iterable(map(batches, range(EPOCHS))), start=1):
            if job.num_classes is not None:
                check_classes(batch, job.num_classes, names=job.names)
            position = (number - 1) % min(job.loader.steps_per_epoch, LEAST)
            step(lay_out(job.prepare(batch), job.memory_format), job.part(0, position))
            seen = _of_all(counts) if job.synchronizes_norms else dict(counts)
            fewest = min(filter(None, seen.values()), default=LEAST)  # a norm that is not used sees none
            if fewest >= LEAST and number >= min(BATCHES, job.loader.steps_per_epoch):
                break
    for norm, statistics in before:
        if seen[norm] < LEAST:
            for value, kept in zip(statistics_of(norm), statistics, strict=True):
                value.copy_(kept)
    return seen


def _of_all(counts: Mapping[_BatchNorm, int]) -> dict[_BatchNorm, int]:
    """The sums over all processes, so that all read as many batches."""
    return dict(zip(counts, processes.add_up(torch.tensor(list(counts.values()))).tolist(), strict=True))


def _warn_of_few_values(counts: Mapping[str, int], young: int) -> list[str]:
    if not counts:
        return []
    name = min(counts, key=counts.__getitem__)
    return [
        f"in {EPOCHS} epochs of the training set batch norm sees {counts[name]} values of a channel at {name} "
        f"({len(counts)} such), and {LEAST} are needed: these statistics of batch norm lag behind the weights for "
        f"about {young} steps; trust neither validation loss nor averaged weights before: train on more or larger "
        "images, or for more steps"
    ]


@contextmanager
def restored(job: Job, norms: Collection[_BatchNorm]) -> Iterator[None]:
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
def _counting(norms: Collection[_BatchNorm]) -> Iterator[dict[_BatchNorm, int]]:
    """Inside, the values of a channel that each norm saw so far."""
    counts = dict.fromkeys(norms, 0)

    def count(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        counts[norm] += inputs[0].numel() // inputs[0].shape[1]

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def _batches_seen(norm: _BatchNorm) -> Tensor:
    return cast(Tensor, norm.num_batches_tracked)


def statistics_of(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)


def young_steps(norms: Iterable[_BatchNorm]) -> int:
    """Steps for which the running statistics of these norms lag behind the weights: YOUNG windows of the slowest.

    The mean over all batches, momentum None, holds none of the statistics of before and counts as torch's 0.1; a norm
    of momentum 0 keeps what it has, and does not count.

    Example:
        >>> young_steps([torch.nn.BatchNorm2d(1)]), young_steps([torch.nn.BatchNorm2d(1, momentum=0.01)])
        (100, 1000)
    """
    windows = [WINDOW if norm.momentum is None else 1 / norm.momentum for norm in norms if norm.momentum != 0]
    return round(YOUNG * max(windows, default=0.0))


def warn_of_statistics(job: Job, *, is_precise: bool = False) -> list[str]:
    """A warning where a run ends while the running statistics of batch norm lag behind the weights.

    None where they are computed precisely at the end, `is_precise`.
    """
    if job.averaging is not None or is_precise or job.total_steps >= (young := young_steps(training_norms(job))):
        return []
    steps = f"{job.total_steps} {'step' if job.total_steps == 1 else 'steps'}"
    return [
        f"the run takes {steps}, and the running statistics of batch norm lag behind the weights for "
        f"about {young}: the validation loss may lie far above the training loss; train longer, or set train.ema=0.9, "
        "for which they are computed anew, or train.precise_norms=true"
    ]


def warn_of_processes(job: Job, batch: int) -> list[str]:
    """A warning where each of several processes takes batch norm's statistics from its own part of a batch."""
    if processes.world_size() == 1 or job.synchronizes_norms or not training_norms(job):
        return []
    return [
        f"batch norm takes its statistics from each process's part, some {batch // processes.world_size()} of {batch} "
        "images, so that the run learns otherwise than by one process: model.sync_batch_norm=true takes all of them"
    ]


def training_norms(job: Job) -> dict[_BatchNorm, str]:
    """Those that keep running statistics, with their names."""
    named = [(module, name.removeprefix("model.")) for name, module in job.learned.named_modules()]
    norms = [(module, name) for module, name in named if isinstance(module, _BatchNorm) and module.training]
    return {norm: name for norm, name in norms if norm.num_batches_tracked is not None}
