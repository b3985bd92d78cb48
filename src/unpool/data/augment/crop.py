"""Crops a window of the network's input size at a random position."""

from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.ops import geometry


class Crop(Geometry):
    """Crops each image by whole pixels at a position drawn uniformly, by axis.

    Along an axis where the image is smaller than the window, it lies at a random position in the window.
    """

    chooses_window = True
    keeps_pixels = True

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        room = size_hw - target_hw  # (B, 2), negative where the image is smaller
        top = draws.integer(room[:, 0].clamp(max=0), room[:, 0].clamp(min=0))
        left = draws.integer(room[:, 1].clamp(max=0), room[:, 1].clamp(min=0))
        return geometry.translation(left, top), target_hw
