"""Network and task as one module, in the precision asked for."""

import torch
from torch import Tensor, nn

from unpool.task import Task
from unpool.training.job import DTYPES, Job, Precision
from unpool.training.whole_batch import as_one
from unpool.types import Batch, Losses, Part, Prediction


class Step(nn.Module):
    """The losses of a batch: what is compiled or distributed as one.

    The network runs in `precision`; losses and predictions are made in float32.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        *,
        precision: Precision,
        device: torch.device,
        synchronizes_norms: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.precision: Precision = precision
        self.device = device
        self.synchronizes_norms = synchronizes_norms
        # listed once: walking the modules of a deep network takes longer than a step of a small one
        self.weights = [weight for weight in self.parameters() if weight.requires_grad]

    def forward(self, batch: Batch, part: Part | None = None) -> Losses:
        """Losses of a batch, or of this process's part of one; those of a sample that stands in are 0 of 0."""
        with autocast(self.device, self.precision), as_one(part, norms=self.synchronizes_norms):
            losses = self.task.losses(self.model, batch)
        if part is None or part.count:
            return losses
        return {name: term._replace(sum=term.sum * 0, count=term.count * 0) for name, term in losses.items()}

    def evaluated(self, batch: Batch) -> tuple[Losses, Prediction]:
        """Losses and answers of a batch, the answers from the task's inputs alone."""
        with autocast(self.device, self.precision):
            return self.task.evaluated(self.model, batch)


def step_of(job: Job) -> Step:
    """The step of a job: its network and task, in its precision."""
    return Step(
        job.model,
        job.task,
        precision=job.precision,
        device=job.device,
        synchronizes_norms=job.synchronizes_norms,
    )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which convolutions and matrix products run in `precision`."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "float32")


def total_loss(losses: Losses) -> Tensor:
    """Sum of `weight * sum / count`; a term that counted nothing gives 0 and no gradient."""
    return torch.stack([term.weight * term.sum / at_least_one(term.count) for term in losses.values()]).sum()


def at_least_one(count: Tensor) -> Tensor:
    """The count, or 1 where nothing was counted."""
    return torch.where(count == 0, torch.ones_like(count), count)
