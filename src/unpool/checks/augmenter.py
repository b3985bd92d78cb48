"""The augmentation of one run, tried on single samples: the author's `augment`, or what a recipe's loader does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unpool.checks.seen import as_image, target_of
from unpool.data.seeding import seed_generators, shared_restored

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

MOST = 400  # samples


class Augmenter:
    """Changes one sample as training does.

    Args:
        count: of the samples.
        raw: (i) -> the picture and target of a sample as they are before.
        change: (i, picture, target, draw) -> the picture and target after it; a function of its arguments.
    """

    def __init__(
        self,
        count: int,
        raw: Callable[[int], tuple[Tensor, Any]],
        change: Callable[[int, Tensor, Any, int], tuple[Any, Any]],
    ) -> None:
        self.count = min(count, MOST)
        self.raw = raw
        self._change = change

    def changed(self, i: int, picture: Tensor, target: Any, draw: int) -> tuple[Tensor, Any]:
        """The picture (C, H, W) and target after the augmentation with the numbers of a draw."""
        with shared_restored():
            seed_generators(11, draw, i)
            image, target = self._change(i, picture, target, draw)
        hits = as_image(image)
        return torch.zeros(1, 1, 1) if hits is None else hits, target


def augmenter_of(setup: "Setup") -> Augmenter | None:
    """What augments the training samples of a run; None where that is not said."""
    made = setup.facts.get("augmenter")
    if isinstance(made, Augmenter):
        return made
    augment = setup.augment
    if augment is None:
        return None
    seen = setup.seen_val if setup.seen_val is not None and setup.seen_val.images else setup.seen
    dataset = seen.source.dataset
    if dataset is None or not seen.indices:
        return None

    def raw(i: int) -> tuple[Tensor, Any]:
        with shared_restored():
            seed_generators(0, 0, i)
            sample = dataset[seen.indices[i]]
        return (sample[0], sample[1]) if isinstance(sample, tuple | list) else (sample["image"], sample)

    def change(i: int, picture: Tensor, target: Any, draw: int) -> tuple[Any, Any]:
        del i, draw
        hits = augment(picture.clone(), target.clone() if isinstance(target, Tensor) else target)
        return (hits[0], hits[1]) if isinstance(hits, tuple | list) else (hits["image"], hits)

    return Augmenter(len(seen.indices), raw, change)


def target_tensor(setup: "Setup", target: Any) -> Tensor | None:
    """The target before or after the augmentation, as a tensor."""
    return target_of(target, setup.target_form)
