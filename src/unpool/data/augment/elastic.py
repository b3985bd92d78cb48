"""Deforms the image as if it were printed on rubber."""

from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Bending
from unpool.data.draws import Draws
from unpool.limits import PIXELS, check_number
from unpool.ops.bending import Field, blurred, coarse, unfolded

POINTS = Interval(ge=2, le=16)
DEVIATION = Interval(ge=0, le=1000)
ALPHA = Interval(ge=0, le=10_000)


class Elastic(Bending):
    """Moves the points of a coarse grid by normal numbers, and what lies between them by bicubic interpolation.

    The outer points lie on the edges of the image. Where a small image would fold, its field is made smaller. What is
    moved beyond the image has the mean colour, and IGNORE in masks.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, section 3.1.

    Args:
        grid: points along either side, 2 to 16.
        deviation: of each displacement, in pixels of the image as the steps before have made it, at most 1,000.
    """

    def __init__(self, *, grid: Annotated[int, POINTS] = 3, deviation: Annotated[float, DEVIATION] = 10.0) -> None:
        self._grid = int(check_number("elastic.grid", grid, POINTS))
        self._deviation = check_number("elastic.deviation", deviation, DEVIATION)

    def fields(self, draws: Draws, size_hw: Tensor) -> list[Field]:
        count = 2 * self._grid**2
        values = torch.stack([draws.normal() for _ in range(count)], dim=1).view(-1, 2, self._grid, self._grid)
        return [coarse(value * self._deviation, size) for value, size in zip(values, size_hw, strict=True)]


class ElasticGaussian(Bending):
    """Moves each pixel by even numbers of -1 to 1, averaged by a Gaussian and multiplied.

    At the edges displacements fade out. Where a field would fold, it is made smaller.

    Source: Simard et al. 2003, "Best practices for convolutional neural networks", section 2: 4 and 34 for digits of 29
    pixels.

    Args:
        sigma: deviation of the Gaussian in pixels, 0.1 to 1,000.
        alpha: factor of the averaged numbers, at most 10,000.
    """

    def __init__(self, *, sigma: Annotated[float, PIXELS] = 4.0, alpha: Annotated[float, ALPHA] = 34.0) -> None:
        self._sigma = check_number("elastic_gaussian.sigma", sigma, PIXELS)
        self._alpha = check_number("elastic_gaussian.alpha", alpha, ALPHA)

    def fields(self, draws: Draws, size_hw: Tensor) -> list[Field]:
        return [self._field(one, size) for one, size in zip(draws.generators(), size_hw, strict=True)]

    def _field(self, generator: torch.Generator, size_hw: Tensor) -> Field:
        height, width = (int(side) + 1 for side in size_hw.tolist())
        noise = torch.rand(2, height, width, generator=generator, dtype=torch.float64) * 2 - 1
        return unfolded(blurred(noise, self._sigma) * self._alpha, size_hw)
