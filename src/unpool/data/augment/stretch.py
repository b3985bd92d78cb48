"""Stretches the image: its width by one factor, its height by another."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from unpool.data.augment.scale import FACTOR
from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import PAIR, check_range
from unpool.ops import geometry


class Stretch(Geometry):
    """Resizes width and height of each image, each by its own factor drawn uniformly on a logarithmic scale.

    Args:
        range: smallest and largest factor, 0.01 to 100.
    """

    def __init__(self, *, range: Annotated[Sequence[Annotated[float, FACTOR]], PAIR] = (0.8, 1.25)) -> None:  # noqa: A002
        self._range = torch.tensor(check_range("stretch.range", range, FACTOR)).double().log().tolist()

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        factor = torch.stack([draws.uniform(*self._range).exp() for _ in "hw"], dim=1)
        scaled = (size_hw * factor).round().clamp(min=1)
        share = scaled / size_hw
        return geometry.zoom(share[:, 1], share[:, 0]), scaled
