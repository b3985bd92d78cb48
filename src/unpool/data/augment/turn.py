"""Rotates the image by 0, 90, 180 or 270 degrees, which moves whole pixels."""

import torch
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.ops import geometry


class Turn(Geometry):
    """Rotates each image counter-clockwise by 0 to 3 quarter turns, each equally likely.

    Together with `flip`, it gives the eight symmetries of a square.
    """

    keeps_pixels = True

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        quarters = draws.integer(0, 3).long()
        height, width = size_hw.double().unbind(1)
        zero, one = torch.zeros_like(height), torch.ones_like(height)
        lying = (quarters % 2 == 1)[:, None]
        # (x, y) of the input that is seen at (x, y) of the output, for each of the four
        rows_x = torch.stack(
            [_row(one, zero, zero), _row(zero, -one, width), _row(-one, zero, width), _row(zero, one, zero)]
        )
        rows_y = torch.stack(
            [_row(zero, one, zero), _row(one, zero, zero), _row(zero, -one, height), _row(-one, zero, height)]
        )
        matrix = geometry.identity(len(quarters))
        row = torch.arange(len(quarters))
        matrix[:, 0], matrix[:, 1] = rows_x[quarters, row], rows_y[quarters, row]
        return matrix, torch.where(lying, size_hw.flip(1), size_hw)


def _row(x: Tensor, y: Tensor, shift: Tensor) -> Tensor:
    return torch.stack((x, y, shift), dim=1)  # (B, 3)
