"""Tasks whose network runs once for loss and answer alike."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unpool.task import Task
from unpool.types import Batch, Losses, Prediction


class OneForward(Task):
    """Losses and answer from one output of the network.

    A subclass writes `forward`, `loss` and `decode`. `forward` and `decode` get the task's inputs and nothing else, so
    that an answer cannot depend on the targets; `loss` and `decode` get float32.
    """

    @abstractmethod
    def forward(self, model: nn.Module, inputs: Batch) -> Any:
        """The network's output, in the precision of the context that this is called in."""

    @abstractmethod
    def loss(self, output: Any, batch: Batch) -> Losses:
        """The loss of an output; see `Task.losses`."""

    @abstractmethod
    def decode(self, output: Any, inputs: Batch) -> Prediction:
        """The prediction that an output stands for; see `Task.answer`."""

    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        output = self.output(model, batch)
        with _full_precision(batch):
            return self.loss(output, batch)

    def answer(self, model: nn.Module, inputs: Batch) -> Prediction:
        inputs = self.inputs_of(inputs)
        output = to_float32(self.forward(model, inputs))
        with _full_precision(inputs):
            return self.decode(output, inputs)

    def evaluated(self, model: nn.Module, batch: Batch) -> tuple[Losses, Prediction]:
        inputs = self.inputs_of(batch)
        output = to_float32(self.forward(model, inputs))
        with _full_precision(batch):
            answer = self.decode(output, inputs)
            return self.loss(output, batch), answer

    def take_over(self, views: Sequence[str]) -> list[str]:
        """The views that are not made by the task itself; those that are, it makes from now on."""
        return list(views)

    def opinion(self, model: nn.Module, inputs: Batch) -> Any:
        """What is averaged of views and networks; an output that `averaged` takes, unless `conclude` is written."""
        return self.output(model, inputs)

    def unmirrored(self, opinion: Any, inputs: Batch) -> Any:
        """An opinion on mirrored images, on the images themselves; classes aside."""
        return opinion

    def reordered(self, opinion: Any, order: Sequence[int]) -> Any:
        """An opinion in which class i is what `order[i]` was."""
        return opinion[:, list(order)]

    def averaged(self, outputs: Sequence[Any]) -> Any:
        """One output for several; written by a task that has `views`."""
        raise NotImplementedError(f"{type(self).__name__} has views and no `averaged`: write it")

    def conclude(self, model: nn.Module, opinions: Sequence[Any], inputs: Batch) -> Prediction:
        """The prediction from several opinions; `model` is the first network."""
        return self.decode(self.averaged(opinions), inputs)

    def output(self, model: nn.Module, batch: Batch) -> Any:
        """What `forward` gives for the batch's inputs, with floating numbers in float32."""
        return to_float32(self.forward(model, self.inputs_of(batch)))


class Maps(OneForward):
    """A task that answers for each pixel, from scores (B, N, H, W) of each; large images are answered in parts.

    Attributes:
        maps: keys of the prediction and of the record that hold one value a pixel, and the kind of their numbers.
        overlap: pixels that neighbouring parts of a large image share at least.
    """

    maps: Mapping[str, torch.dtype] = {}
    overlap: int = 0

    def output_of_part(self, model: nn.Module, inputs: Batch) -> Tensor:
        """What parts of a large image are joined of, (B, N, H, W); `decode` takes it as it takes an output."""
        return self.output(model, inputs)


class Vectors(OneForward):
    """A task that answers with `embedding`, a vector of length 1, near where two images show the same."""

    @property
    @abstractmethod
    def chosen_threshold(self) -> float | None:
        """The distance up to which two images show the same; None where none was chosen."""


def _full_precision(batch: Batch) -> torch.autocast:
    """A context without automatic half precision on the device of the batch's images."""
    return torch.autocast(batch["image"][0].device.type, enabled=False)


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
