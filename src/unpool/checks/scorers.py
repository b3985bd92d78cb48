"""Scores of chosen outputs by the author's metric and evaluation, over any batches of the same samples."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from unpool.checks.ideals import Ideal, ideal_of
from unpool.checks.setup import Setup
from unpool.checks.source import BATCH, Source, singles, split
from unpool.errors import DataError
from unpool.tracing.foreign import foreign_code

MOST, LEAST, SHARE = 96, 8, 0.1  # samples of validation that are scored; of the time that is left, for their outputs


@runtime_checkable
class Counting(Protocol):
    """A metric that counts batches."""

    def update(self, outputs: Any, targets: Any) -> Any: ...
    def compute(self) -> Any: ...
    def reset(self) -> Any: ...


class Kept(Dataset):
    """Samples that were read once."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


class Answering(nn.Module):
    """Stands in for the network in an evaluation: looks up what it was decided to answer for each sample.

    Args:
        inputs: (N, ...) of the samples.
        outputs: (N, ...) to be answered.
    """

    def __init__(self, inputs: Tensor, outputs: Tensor) -> None:
        super().__init__()
        self.index = {_bytes(one): number for number, one in enumerate(inputs)}
        self.outputs = outputs
        self.calls = 0
        self.weight = nn.Parameter(torch.zeros(1))  # evaluations ask a network for its device

    def forward(self, inputs: Tensor, *beside: Any, **__: Any) -> Tensor:
        """The answers; of a sentence that is asked for word by word, those behind the words so far."""
        self.calls += 1
        answers = self.outputs[[self.index[_bytes(one)] for one in inputs]]
        words = [one.shape[1] for one in beside if isinstance(one, Tensor) and one.dim() == 2]
        return answers[:, : words[0]] if words and answers.dim() == 3 else answers


class Scorer:
    """Scores outputs of the same samples of validation in several ways.

    Raises:
        DataError: the validation data, or the outputs, are no tensors of one shape.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.val is None:
            raise DataError("there are no validation data: pass val=")
        self.setup, self.val = setup, setup.val
        most = int(setup.budget.share_s(SHARE) / setup.sample_s) if setup.sample_s else MOST
        self.samples = _samples(self.val, min(MOST, max(LEAST, most)))
        loader = self.val.loader
        self.collate: Callable[[Any], Any] = default_collate if loader is None else loader.collate_fn
        self.batch = self.collate(self.samples)
        self.inputs, self.targets = split(self.batch)
        with setup.trying(training=False), torch.no_grad():
            parts = [self.samples[i : i + BATCH] for i in range(0, len(self.samples), BATCH)]
            outputs = [setup.outputs(self.collate(part)) for part in parts]
        if not isinstance(self.inputs, Tensor) or not all(isinstance(one, Tensor) for one in outputs):
            raise DataError(f"outputs are {type(outputs[0]).__name__}s, and not one tensor with a row for each sample")
        self.outputs = torch.cat(outputs).float().cpu()

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def ideal(self) -> Ideal | None:
        return self._ideal_of(is_share=self.are_shares)

    @cached_property
    def are_shares(self) -> bool:
        """Whether outputs are probabilities: from 0 to 1, and sure ones have a lower loss as such than as logits."""
        if not bool(((self.outputs >= 0) & (self.outputs <= 1)).all()):
            return False
        losses = [self._loss_of(self._ideal_of(is_share=is_share)) for is_share in (True, False)]
        return losses[0] <= losses[1]

    def _ideal_of(self, *, is_share: bool) -> Ideal | None:
        height, width = self.inputs.shape[-2:] if self.inputs.dim() == 4 else (0, 0)
        hw = (height, width) if height else None
        return ideal_of(self.setup.target_form, self.outputs, self.targets, image_hw=hw, is_share=is_share)

    def _loss_of(self, ideal: Ideal | None) -> float:
        """The loss of right outputs; infinite where it refuses them."""
        if ideal is None or self.setup.loss is None:
            return math.inf
        with foreign_code(), torch.no_grad():
            return float(self.setup.loss_of(ideal.right, self.batch))
        return math.inf

    def by_metric(self, outputs: Tensor, sizes: Sequence[int] = (), targets: Any = None) -> float:
        """Score by the metric, counted over batches of these sizes; a function's is the mean weighted by them."""
        targets = self.targets if targets is None else targets
        parts = [(outputs[a:b], _cut(targets, a, b)) for a, b in _bounds(sizes or (len(self),))]
        metric = self.setup.metric
        if isinstance(metric, Counting):
            metric = copy.deepcopy(metric)
            metric.reset()
            for part in parts:
                metric.update(*part)
            return number_of(metric.compute())
        values = [number_of(metric(*part)) for part in parts]
        return sum(value * len(part[0]) for value, part in zip(values, parts, strict=True)) / len(self)

    def by_evaluate(self, outputs: Tensor, sizes: Sequence[int] = (), samples: Sequence[Any] | None = None) -> float:
        """Score by the evaluation, which gets a stand-in for the network, and batches of these sizes.

        Raises:
            DataError: there is none, or it does not ask the network that it gets.
        """
        if self.setup.evaluate is None:
            raise DataError("no evaluation was given: pass evaluate=, a function of (model, val)")
        network = Answering(self.inputs, outputs)
        value = self.setup.evaluate(network, self.data(sizes, samples))
        if network.calls == 0:
            raise DataError("evaluate(model, val) does not ask the model that it gets")
        return number_of(value)

    def data(self, sizes: Sequence[int] = (), samples: Sequence[Any] | None = None) -> Any:
        """The samples as the kind of thing that validation is, in batches of these sizes where it has batches."""
        kept = Kept(self.samples if samples is None else samples)
        parts = [list(range(a, b)) for a, b in _bounds(sizes or (len(kept),))]
        if self.val.loader is not None:
            return DataLoader(kept, batch_sampler=parts, collate_fn=self.collate)
        if self.val.is_loader:
            return [self.collate([kept[i] for i in part]) for part in parts]
        return kept


def number_of(value: Any) -> float:
    """A score as a number; of several the first.

    Raises:
        DataError: there is no number in it.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list) and value:
        return number_of(value[0])
    if isinstance(value, str) or value is None or isinstance(value, Tensor | tuple | list):
        raise DataError(f"a score is a {type(value).__name__}, and not a number")
    return float(value)


def _samples(val: Source, most: int) -> list[Any]:
    if val.dataset is not None:
        return [val.dataset[i] for i in val.drawn(most)]
    samples = []
    for batch in val.read():
        samples += list(singles(batch))
        if len(samples) >= most:
            break
    return samples[:most]


def _bounds(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *accumulate(sizes)]))


def _cut(targets: Any, start: int, end: int) -> Any:
    if isinstance(targets, Mapping):
        return {key: _cut(value, start, end) for key, value in targets.items()}
    if isinstance(targets, tuple):
        return tuple(_cut(value, start, end) for value in targets)
    return targets[start:end] if isinstance(targets, Tensor | list) else targets


def _bytes(sample: Tensor) -> bytes:
    return sample.detach().cpu().contiguous().numpy().tobytes()
