"""Makes the image larger or smaller, both sides by the same factor."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import PAIR, check_range
from unpool.ops import geometry

FACTOR = Interval(ge=0.01, le=100)


class Scale(Geometry):
    """Resizes each image by a factor drawn uniformly on a logarithmic scale: half and double are equally likely.

    Args:
        range: smallest and largest factor, 0.01 to 100.
    """

    def __init__(self, *, range: Annotated[Sequence[Annotated[float, FACTOR]], PAIR] = (0.8, 1.25)) -> None:  # noqa: A002
        self._range = torch.tensor(check_range("scale.range", range, FACTOR)).double().log().tolist()

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        factor = draws.uniform(*self._range).exp()
        scaled = (size_hw * factor[:, None]).round().clamp(min=1)
        share = scaled / size_hw
        return geometry.zoom(share[:, 1], share[:, 0]), scaled
