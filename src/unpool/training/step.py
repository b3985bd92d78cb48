"""Forward and loss as one module, in the precision asked for."""

from typing import Any

import torch
from torch import Tensor, nn

from unpool.training.job import DTYPES, Precision
from unpool.types import Batch, Losses, Task


class Step(nn.Module):
    """The task's forward and loss: what is compiled or distributed as one.

    The network runs in `precision`; the loss always sees float32.
    """

    def __init__(self, model: nn.Module, task: Task, *, precision: Precision, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.precision: Precision = precision
        self.device = device
        # listed once: walking the modules of a deep network takes longer than a step of a small one
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]

    def output(self, batch: Batch) -> Any:
        """What the network says about a batch, floating values in float32."""
        with autocast(self.device, self.precision):
            return to_float32(self.task.forward(self.model, batch))

    def forward(self, batch: Batch) -> Losses:
        return self.task.loss(self.output(batch), batch)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which convolutions and matrix products run in `precision`."""
    return torch.autocast(device.type, dtype=DTYPES[precision], enabled=precision != "float32")


def to_float32(output: Any) -> Any:
    """The same tuples, lists and dicts with every floating tensor in float32."""
    if isinstance(output, Tensor):
        return output.float() if output.is_floating_point() else output
    if isinstance(output, dict):
        return {key: to_float32(value) for key, value in output.items()}
    if isinstance(output, list):
        return [to_float32(value) for value in output]
    if isinstance(output, tuple):
        values = [to_float32(value) for value in output]
        return tuple(values) if type(output) is tuple else type(output)(*values)
    return output


def total_loss(losses: Losses) -> Tensor:
    """Sum of `weight * sum / count`; a term that counted nothing gives 0 and no gradient."""
    return torch.stack([term.weight * term.sum / at_least_one(term.count) for term in losses.values()]).sum()


def at_least_one(count: Tensor) -> Tensor:
    """The count, or 1 where nothing was counted."""
    return torch.where(count == 0, torch.ones_like(count), count)
