"""Makes the image smaller on a canvas of the mean colour, so that a network meets small things.

Source: Liu et al. 2016, arXiv:1512.02325, section 3.6. There the canvas is larger and is resized to the input
afterwards; here it keeps the size of the image, which shows the same.
"""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import SHARE, check_number
from unpool.ops import geometry

LARGEST = Interval(ge=1, le=100)


class Expand(Geometry):
    """Puts each image, with probability `p`, at a position drawn uniformly on a canvas of its aspect.

    The size of the result is that of the image, and what lies beside it has the mean colour, IGNORE in masks.

    Args:
        p: probability of a canvas.
        largest: its largest side, in sides of the image, drawn uniformly from 1; 4 is a canvas of 16 times the area.
    """

    def __init__(self, *, p: Annotated[float, SHARE] = 0.5, largest: Annotated[float, LARGEST] = 4.0) -> None:
        self._p = check_number("expand.p", p, SHARE)
        self._largest = check_number("expand.largest", largest, LARGEST)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        is_expanded, ratio = draws.coin(self._p), draws.uniform(1, self._largest)
        ratio = torch.where(is_expanded, ratio, 1.0)
        room = (ratio[:, None] - 1) * size_hw  # (B, 2) of the canvas beside the image
        top, left = (draws.uniform() * room[:, i] for i in (0, 1))
        return geometry.translation(-left, -top) @ geometry.zoom(1 / ratio, 1 / ratio), size_hw
