"""Shifts the colour of each image along the axes in which colours vary.

Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", section 4.1.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Interval, Len
from torch import Tensor

from unpool.data.augment.step import Colour
from unpool.data.draws import Draws
from unpool.errors import RecipeError
from unpool.limits import SHARE, check_number, is_within
from unpool.ops import colour

TRAINING = "training"  # axes of the training images, see `assemble.statistics`
VARIANCE = Interval(ge=-100, le=100)
Axis = Annotated[Sequence[Annotated[float, VARIANCE]], Len(1, 1024)]

IMAGENET = tuple(
    tuple(value * x for x in vector)
    for value, vector in zip(colour.IMAGENET_VARIANCES, colour.IMAGENET_AXES, strict=True)
)


class PcaColor(Colour):
    """Adds to all pixels of an image one colour: each axis times a normal number of deviation `deviation`.

    An axis is an eigenvector of the covariance of the channels over pixels, times its eigenvalue, values on 0..1. With
    `axes: training` it is that of the training images; recipe.yaml of the run has the numbers.

    Args:
        deviation: of the normal number, 0 to 1.
        axes: "imagenet" for those of ImageNet in RGB, "training", or a list of axes, each a number for each channel.
    """

    def __init__(
        self,
        *,
        deviation: Annotated[float, SHARE] = 0.1,
        axes: Literal["imagenet", "training"] | Annotated[Sequence[Axis], Len(1, 1024)] = "imagenet",
    ) -> None:
        self._deviation = check_number("pca_color.deviation", deviation, SHARE)
        self._axes = None if axes == TRAINING else _listed(IMAGENET if isinstance(axes, str) else axes)

    def matrix(self, draws: Draws, mean: Tensor) -> Tensor:
        if self._axes is None or self._axes.shape[1] != mean.shape[1]:
            count = "not counted" if self._axes is None else f"of {self._axes.shape[1]} channels"
            raise RecipeError(
                f"pca_color.axes are {count} and images have {mean.shape[1]} channels: train with axes: training"
            )
        amounts = torch.stack([draws.normal() for _ in self._axes], dim=1) * (self._deviation * 255)
        return colour.shift(amounts @ self._axes)


def _listed(axes: Sequence[Sequence[float]]) -> Tensor:
    """(N, C) float64."""
    values = [value for axis in axes for value in axis]
    if len({len(axis) for axis in axes}) != 1 or not all(is_within(value, VARIANCE) for value in values):
        raise RecipeError("pca_color.axes has rows of unequal length, or numbers beyond 100; expected one a channel")
    return torch.tensor(axes, dtype=torch.float64)
