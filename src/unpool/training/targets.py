"""Range check of targets on the host, before they reach a loss."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.errors import DataError
from unpool.training.job import names_of
from unpool.types import IGNORE, Batch


def check_targets(batch: Batch, num_classes: int, *, names: Sequence[str]) -> None:
    """Nothing where every `label` and `mask` value is a class (or, in a mask, IGNORE).

    Raises:
        DataError: names the files and their values.
    """
    bad = []
    for key in ("label", "mask"):
        if key not in batch:
            continue
        for place, value in enumerate(_samples(batch[key], num_classes, with_ignore=key == "mask")):
            wrong = value[~_allowed(value, num_classes, with_ignore=key == "mask")]
            if len(wrong):
                bad.append((place, key, sorted(set(wrong.tolist()))[:8]))
    if bad:
        listed = names_of(batch, names)
        found = "; ".join(
            f"{listed[place] if place < len(listed) else f'sample {place} of the batch'}: {key} {values}"
            for place, key, values in bad
        )
        raise DataError(
            f"targets outside of the {num_classes} classes 0 to {num_classes - 1}: {found}; "
            f"correct the files, or map unlabelled pixels to the ignore value"
        )


def _samples(targets: Tensor | list[Tensor], num_classes: int, *, with_ignore: bool) -> list[Tensor]:
    """Each sample's values, flat; none where the whole batch is in range, which is the quick test."""
    if isinstance(targets, Tensor) and bool(_allowed(targets, num_classes, with_ignore=with_ignore).all()):
        return []
    return [target.reshape(-1) for target in targets]


def _allowed(value: Tensor, num_classes: int, *, with_ignore: bool) -> Tensor:
    if not with_ignore:
        return (value >= 0) & (value < num_classes)
    inside = (value >= 0) & (value < max(num_classes, 1))  # without classes, 0 is what is labelled
    return torch.logical_or(inside, value == IGNORE)
