"""A photograph of one person as the square that the readers of people give, and joints found on it put back.

The square is cut as theirs is, around the whole photograph: its aspect is kept, and bars of one colour fill the rest.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from unpool.data.readers.person_crops import Square, cut, square_around
from unpool.ops.heatmaps import rescale
from unpool.types import Preprocessing

LONGEST = 4096  # pixels of the longer side to which a photograph is made smaller, so that its square fits in memory


class Squared(NamedTuple):
    """A photograph in its square.

    Attributes:
        image: (C, side, side) uint8.
        square: where it lies, in pixels of the photograph as it was made smaller.
        seen_hw: size of that.
        size_hw: size of the photograph itself.
    """

    image: Tensor
    square: Square
    seen_hw: tuple[int, int]
    size_hw: tuple[int, int]

    def back(self, points: Tensor) -> Tensor:
        """(1, K, 2) x, y in pixels of the square -> in pixels of the photograph."""
        moved = points + torch.tensor([self.square.left, self.square.top], device=points.device)
        return moved if self.seen_hw == self.size_hw else rescale(moved, self.seen_hw, self.size_hw)


def in_square(image: Tensor) -> Squared:
    """The photograph (C, H, W) uint8 in the smallest square that holds it, of 8 pixels or more."""
    height, width = image.shape[-2:]
    scale = min(1.0, LONGEST / max(height, width))
    seen_hw = (max(1, round(height * scale)), max(1, round(width * scale)))
    square = square_around((0, 0, seen_hw[1], seen_hw[0]), 1.0)
    return Squared(cut(Preprocessing(size_hw=seen_hw).resize(image), square), square, seen_hw, (height, width))
