"""Shifts the image by whole pixels; pixels outside of it get the mean colour, and IGNORE in masks."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.errors import RecipeError
from unpool.limits import SHARE, check_number
from unpool.ops import geometry

PIXELS = Interval(ge=0, le=10_000)


class Translate(Geometry):
    """Shifts each image by whole pixels in x and y, each drawn uniformly from -largest to +largest.

    `pixels: 4` is "pad by 4, then crop at random" of the CIFAR recipes.

    Args:
        pixels: largest shift, at most 10,000, and less than a side of the images.
        fraction: largest shift as a share of the width (x) or height (y), rounded down to pixels; instead of `pixels`.
    """

    keeps_pixels = True

    def __init__(
        self, *, pixels: Annotated[int, PIXELS] | None = None, fraction: Annotated[float, SHARE] | None = None
    ) -> None:
        if (pixels is None) == (fraction is None):
            raise RecipeError(f"translate has pixels {pixels} and fraction {fraction}; give one of the two")
        self._pixels = None if pixels is None else check_number("translate.pixels", pixels, PIXELS)
        self.shift = pixels or 0
        self._fraction = None if fraction is None else check_number("translate.fraction", fraction, SHARE)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        if self._pixels is not None:
            most = torch.full_like(size_hw, self._pixels)
        else:
            most = (size_hw * (self._fraction or 0.0)).floor()
        down, right = (draws.integer(-most[:, i], most[:, i]) for i in (0, 1))
        return geometry.translation(right, down), size_hw
