"""Crops a window of the network's input size at a random position."""

import torch
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

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        target = torch.tensor(target_hw, dtype=torch.float64)
        room = size_hw - target  # (B, 2), negative where the image is smaller
        top = draws.integer(room[:, 0].clamp(max=0), room[:, 0].clamp(min=0))
        left = draws.integer(room[:, 1].clamp(max=0), room[:, 1].clamp(min=0))
        return geometry.translation(left, top), target.expand_as(size_hw)
