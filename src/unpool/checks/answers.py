"""The scores of one batch and its targets as tensors that can be exchanged, to ask the loss about other answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from unpool.checks.source import IMAGE_KEYS, TARGET_KEYS, Batch, split
from unpool.tracing.foreign import foreign_code

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

SCORE_KEYS = ("out", "logits", "scores", "output", "pred")

Kind = Literal["one of", "yes or no", "words", "same shape", "other"]


class Asked(NamedTuple):
    """The loss of one batch as a function of scores and targets.

    Attributes:
        setup: the run.
        batch: its targets are exchanged.
        outputs: of the network, detached; the scores in them are exchanged.
        scores, targets: tensors.
        kind: how they belong together: one class of several, yes or no for each score, a word for each position, a
            number for each score, or something else.
    """

    setup: "Setup"
    batch: Batch
    outputs: Any
    scores: Tensor
    targets: Tensor
    kind: Kind

    def tensor(self, scores: Tensor, targets: Tensor | None = None) -> Tensor:
        """The loss, (), with the scores' gradient where they need one."""
        batch = self.batch if targets is None else with_targets(self.batch, targets)
        return self.setup.loss_of(with_scores(self.outputs, scores), batch)

    def loss(self, scores: Tensor, targets: Tensor | None = None) -> float:
        """The loss as a number; infinity where the loss raises or is not finite."""
        value = float("inf")
        with foreign_code(), torch.no_grad():
            value = float(self.tensor(scores, targets))
        return value if value == value else float("inf")

    @property
    def num_classes(self) -> int:
        """Of `one of` and `words`."""
        return self.scores.shape[-1 if self.kind == "words" else 1]

    @property
    def class_axis(self) -> int:
        return self.scores.ndim - 1 if self.kind == "words" else 1


def ask(setup: "Setup", batch: Batch | None = None, outputs: Any = None) -> Asked | None:
    """Makes it of the first training batch, or of another; None where scores or targets are no tensors, or no loss is.

    Args:
        setup: the run.
        batch: the one of the first pass where None.
        outputs: of the network for that batch.
    """
    if setup.loss is None:
        return None
    if batch is None:
        batch, outputs = setup.first_pass.batch, setup.first_pass.outputs
    moved = setup.moved(batch)
    scores, targets = scores_of(outputs), targets_of(moved)
    if scores is None or targets is None:
        return None
    scores = scores.detach()
    kind = "other" if setup.target_form == "vector" else _kind(scores, targets)  # coordinates stand for no classes
    return Asked(setup, moved, outputs, scores, targets, kind)


def scores_of(outputs: Any) -> Tensor | None:
    """The one tensor of the outputs that is the answer; None where that is not clear."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        key = _score_key(outputs)
        return None if key is None else outputs[key]
    return None


def with_scores(outputs: Any, scores: Tensor) -> Any:
    """The outputs with other scores."""
    if isinstance(outputs, Mapping):
        return {**outputs, _score_key(outputs): scores}
    return scores


def _score_key(outputs: Mapping[str, Any]) -> str | None:
    tensors = [key for key, value in outputs.items() if isinstance(value, Tensor)]
    return next((key for key in SCORE_KEYS if key in tensors), tensors[0] if len(tensors) == 1 else None)


def targets_of(batch: Batch) -> Tensor | None:
    """The one tensor of a batch to learn from; None where that is not clear."""
    targets = split(batch)[1]
    if isinstance(targets, Mapping):
        key = _target_key(targets)
        return None if key is None else targets[key]
    return targets if isinstance(targets, Tensor) else None


def with_targets(batch: Batch, targets: Tensor) -> Batch:
    """The batch with other targets."""
    return {**batch, _target_key(batch): targets} if isinstance(batch, Mapping) else (batch[0], targets)


def _target_key(batch: Mapping[str, Any]) -> str | None:
    tensors = [key for key, value in batch.items() if isinstance(value, Tensor) and key not in IMAGE_KEYS]
    return next((key for key in TARGET_KEYS if key in tensors), tensors[0] if len(tensors) == 1 else None)


def _kind(scores: Tensor, targets: Tensor) -> Kind:
    if not targets.is_floating_point() and scores.ndim == targets.ndim + 1:
        if scores.ndim == 3 and scores.shape[:2] == targets.shape:
            return "words"
        if scores.shape[1] > 1 and scores.shape[:1] + scores.shape[2:] == targets.shape:
            return "one of"
    if scores.numel() != targets.numel():
        return "other"
    has_two = bool(((targets == 0) | (targets == 1)).all()) and bool((targets != targets.flatten()[0]).any())
    return "yes or no" if has_two else "same shape"


def is_ignored(asked: Asked) -> Tensor:
    """Which targets stand for no class; of `one of` and `words`."""
    return (asked.targets < 0) | (asked.targets >= asked.num_classes)


def one_hot(asked: Asked, targets: Tensor | None = None) -> Tensor:
    """The probabilities of a perfect prediction in the form of the scores; class 0 where the target is ignored."""
    classes = (asked.targets if targets is None else targets).long()
    inside = classes.clamp(0, asked.num_classes - 1)
    inside = torch.where(classes == inside, inside, torch.zeros_like(inside))
    hot = torch.nn.functional.one_hot(inside, asked.num_classes).to(asked.scores.dtype)
    return hot.movedim(-1, asked.class_axis)


def other_classes(asked: Asked) -> Tensor:
    """Targets of another class everywhere but where they are ignored."""
    other = (asked.targets + 1) % asked.num_classes
    return torch.where(is_ignored(asked), asked.targets, other.to(asked.targets.dtype))


def drawn_scores(asked: Asked, seed: int = 0) -> Tensor:
    """Normal numbers in the form of the scores."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(asked.scores.shape, generator=generator).to(asked.scores)


def are_probabilities(asked: Asked) -> bool:
    """Whether the scores of one target add up to 1 and none is negative."""
    scores = asked.scores.float()
    return bool((scores >= 0).all()) and _all_near(scores.sum(asked.class_axis), 1.0)


def are_log_probabilities(asked: Asked) -> bool:
    return bool((asked.scores <= 0).all()) and _all_near(asked.scores.float().logsumexp(asked.class_axis), 0.0)


def _all_near(values: Tensor, number: float) -> bool:
    return bool(((values - number).abs() < 1e-3).all())
