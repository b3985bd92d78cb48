"""Statistics of batch norm for averaged weights, computed anew while a run is young.

The running statistics follow weights that still move fast, and lag behind them: in its first 24 steps a ResNet-18 had
validation losses of 120 to 1000 beside training losses of 5 to 8, with averaged weights and without, and of 3 to 18
with statistics of its present weights. So the averaged network gets means over a few training batches with its weights
held still: Izmailov et al. 2018 (arXiv:1803.05407) do so for averaged weights, over the whole set, Wu and Johnson 2021
(arXiv:2105.07576) for the early epochs of any training. Later the average of the running statistics is kept.
"""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from unpool.ops.targets import check_classes
from unpool.training.job import Job, lay_out
from unpool.training.step import Step
from unpool.types import Batch

YOUNG = 100  # steps; ten times the window of running statistics of momentum 0.1
BATCHES = 8


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
    kept = [(norm, norm.momentum, tracked, tracked.clone()) for norm, tracked in norms]
    modes = {module: module.training for module in job.learned.modules()}
    step = Step(job.model, job.task, precision=job.precision, device=job.device).eval()
    try:
        with job.averaging.applied(job.learned), torch.no_grad():  # the average's tensors, changed in their storage
            for norm, _ in norms:
                norm.reset_running_stats()
                norm.train().momentum = None  # the mean over all batches
            for batch in islice(batches, BATCHES):
                if job.num_classes is not None:
                    check_classes(batch, job.num_classes, names=job.names)
                step(lay_out(job.prepare(batch), job.memory_format))
    finally:
        for norm, momentum, tracked, count in kept:
            norm.momentum = momentum
            tracked.copy_(count)
        for module, mode in modes.items():
            module.training = mode


def warn_of_statistics(job: Job) -> list[str]:
    """A warning where a run ends while the running statistics of batch norm lag behind the weights."""
    if job.averaging is not None or job.total_steps >= YOUNG or not _training_norms(job):
        return []
    return [
        f"the run takes {job.total_steps} steps, and the running statistics of batch norm lag behind the weights for "
        f"about {YOUNG}: the validation loss may lie far above the training loss; train longer, or set train.ema=0.9, "
        "for which they are computed anew"
    ]


def _training_norms(job: Job) -> list[tuple[_BatchNorm, Tensor]]:
    """Those that keep running statistics, with their count of batches."""
    norms = [module for module in job.learned.modules() if isinstance(module, _BatchNorm) and module.training]
    return [(norm, norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None]
