"""Outputs that answer the targets perfectly, wrongly, or always the same, as a network of this run would give them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from unpool.checks.setup import Form
from unpool.checks.source import IMAGE_KEYS, TARGET_KEYS

SURE, UNSURE = 10.0, 0.2  # logits of an answer
ANSWERED_KEYS = (*TARGET_KEYS, "labels", "masks", "keypoints", "caption", "captions")


class Ideal(NamedTuple):
    """Outputs of a whole set of samples.

    Attributes:
        right: that answer every target.
        wrong: that answer none.
        unsure: as right, with answers just beyond the border between two classes; None where there is no border.
        constant: one answer for all samples, of each class, or of the mean target.
        has_classes: answers are classes, so that the best score is known.
    """

    right: Tensor
    wrong: Tensor
    unsure: Tensor | None
    constant: tuple[Tensor, ...]
    has_classes: bool


def target_of(targets: Any) -> Tensor | None:
    """The tensor that is to be answered: the targets, or the one of a known key."""
    if isinstance(targets, Tensor):
        return targets
    if not isinstance(targets, Mapping):
        return None
    known = [targets[key] for key in ANSWERED_KEYS if isinstance(targets.get(key), Tensor)]
    if known:
        return known[0]
    others = [value for key, value in targets.items() if isinstance(value, Tensor) and key not in IMAGE_KEYS]
    return others[0] if len(others) == 1 else None


def ideal_of(
    form: Form, outputs: Tensor, targets: Any, *, image_hw: tuple[int, int] | None, is_share: bool
) -> Ideal | None:
    """Makes outputs for targets of a form, in the shape of the network's; None where that is unknown."""
    target = target_of(targets)
    if target is None or len(target) != len(outputs):
        return None
    if form == "points" and target.dim() == 3 and outputs.dim() == 4 and outputs.shape[1] == target.shape[1]:
        return None if image_hw is None else _peaks(outputs, target, image_hw)
    if form == "tokens" and outputs.dim() == 3:
        shift = target.shape[1] - outputs.shape[1]
        return (
            _classes(outputs.movedim(-1, 1), target[:, shift:], is_share=is_share, last=True)
            if shift in (0, 1)
            else None
        )
    if form in ("class", "class map", "flags") and target.shape == outputs.shape:
        return _signs(outputs, target > 0.5, is_share=is_share)
    if form in ("class", "class map") and outputs.dim() == target.dim() + 1 and outputs.shape[2:] == target.shape[1:]:
        if outputs.shape[1] == 1:
            return _signs(outputs, target[:, None] == 1, is_share=is_share)
        return _classes(outputs, target.long(), is_share=is_share)
    if target.shape == outputs.shape and target.is_floating_point():
        return _values(target)
    return None


def _levels(*, is_share: bool) -> tuple[float, float, float]:
    """A sure no, a sure yes, and how far an unsure one is from their border."""
    return (0.001, 0.999, 0.05) if is_share else (-SURE, SURE, UNSURE)


def _classes(outputs: Tensor, target: Tensor, *, is_share: bool, last: bool = False) -> Ideal:
    """Of (N, C, ...) scores; values of the target that are no class are answered with class 0."""
    number = outputs.shape[1]
    target = torch.where((target >= 0) & (target < number), target, 0)
    no, yes, _ = _levels(is_share=is_share)

    def answered(classes: Tensor) -> Tensor:
        hot = F.one_hot(classes, number).movedim(-1, 1).to(outputs.dtype)
        scores = no + (yes - no) * hot
        return scores.movedim(1, -1) if last else scores

    constant = tuple(answered(torch.full_like(target, one)) for one in range(min(number, 30)))
    return Ideal(answered(target), answered((target + 1) % number), None, constant, has_classes=True)


def _signs(outputs: Tensor, target: Tensor, *, is_share: bool) -> Ideal:
    """Of yes and no."""
    no, yes, unsure = _levels(is_share=is_share)
    middle = (no + yes) / 2

    def answered(is_yes: Tensor, far: float) -> Tensor:
        return torch.where(is_yes, middle + far, middle - far).to(outputs.dtype)

    constant = tuple(answered(torch.full_like(target, one), yes - middle) for one in (False, True))
    right, wrong = answered(target, yes - middle), answered(~target, yes - middle)
    return Ideal(right, wrong, answered(target, unsure), constant, has_classes=True)


def _values(target: Tensor) -> Ideal:
    """Of pictures and numbers."""
    spread = target.std().clamp(min=1e-3)
    generator = torch.Generator().manual_seed(0)
    noise = spread * torch.randn(target.shape, generator=generator)
    sizes = 0.1 + torch.rand(len(target), generator=generator)
    wrong = target + noise * sizes.reshape(-1, *[1] * (target.dim() - 1))
    return Ideal(
        target.clone(), wrong, None, (target.mean(0, keepdim=True).expand_as(target).clone(),), has_classes=False
    )


def _peaks(outputs: Tensor, points: Tensor, image_hw: tuple[int, int]) -> Ideal:
    """Of heatmaps with a peak at each point, and at the opposite side of the map."""
    height, width = outputs.shape[2:]
    x, y = (points[..., i] * size / full for i, size, full in ((0, width, image_hw[1]), (1, height, image_hw[0])))
    rows, columns = torch.arange(height)[:, None], torch.arange(width)

    def answered(x: Tensor, y: Tensor) -> Tensor:
        distance = (columns - x[..., None, None]).square() + (rows - y[..., None, None]).square()
        return (-distance / 2).exp().to(outputs.dtype)

    middle = answered(torch.full_like(x, width // 2), torch.full_like(y, height // 2))
    return Ideal(
        answered(x, y), answered((x + width / 2) % width, (y + height / 2) % height), None, (middle,), has_classes=True
    )
