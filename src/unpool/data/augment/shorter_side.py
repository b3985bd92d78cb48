"""Resizes the image until its shorter side has a random length, as VGG and ResNet are trained.

Source: Simonyan and Zisserman 2015, arXiv:1409.1556, section 3.1 (multi-scale training); He et al. 2016,
arXiv:1512.03385, section 3.4.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import PAIR, check_range
from unpool.ops import geometry

SIDE = Interval(ge=1, le=4096)


class ShorterSide(Geometry):
    """Resizes each image, at its aspect, to a shorter side drawn uniformly in whole pixels; `crop` takes a window.

    It starts from the image as decoded. Recipes refuse it with `data.rule: stretch`, by which evaluation would show
    images at another aspect.

    Args:
        range: smallest and largest shorter side, 1 to 4,096 pixels; 256 to 480 for windows of 224.
    """

    chooses_scale = True
    keeps_aspect = True

    def __init__(self, *, range: Annotated[Sequence[Annotated[int, SIDE]], PAIR] = (256, 480)) -> None:  # noqa: A002
        self._range = check_range("shorter_side.range", range, SIDE)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        side = draws.integer(*(torch.full((len(size_hw),), end, dtype=torch.float64) for end in self._range))
        scaled = (size_hw * (side / size_hw.amin(1))[:, None]).round().clamp(min=1)
        share = scaled / size_hw
        return geometry.zoom(share[:, 1], share[:, 0]), scaled
