"""A photograph as a network that finds places sees it, and what it finds put back onto the photograph.

Where training has images of one size, these are squares: the square is cut as the readers of people cut theirs, around
the whole photograph, whose aspect is kept; bars of one colour fill the rest. Where training has images of their own
sizes, the photograph is seen as it is, made smaller only where the network could not hold it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.data.readers.person_crops import FILLS
from unpool.ops.cutting import cut, resize_to, square_around
from unpool.ops.heatmaps import rescale

LONGEST = 4096  # pixels of the longer side to which a photograph is made smaller, so that its square fits in memory


class Framed(NamedTuple):
    """A photograph in its frame.

    Attributes:
        image: (C, h, w) uint8.
        left, top: where the frame lies, in pixels of the photograph as it was made smaller.
        seen_hw: size of that.
        size_hw: size of the photograph itself.
    """

    image: Tensor
    left: int
    top: int
    seen_hw: tuple[int, int]
    size_hw: tuple[int, int]

    def back(self, points: Tensor) -> Tensor:
        """(..., 2) x, y in pixels of the frame -> in pixels of the photograph; NaN stays NaN."""
        moved = points + torch.tensor([self.left, self.top], device=points.device)
        return moved if self.seen_hw == self.size_hw else rescale(moved, self.seen_hw, self.size_hw)


def in_square(image: Tensor) -> Framed:
    """The photograph (C, H, W) uint8 in the smallest square that holds it, of 8 pixels or more."""
    height, width = image.shape[-2:]
    scale = min(1.0, LONGEST / max(height, width))
    smaller = _resized(image, (max(1, round(height * scale)), max(1, round(width * scale))))
    square = square_around((0, 0, smaller.seen_hw[1], smaller.seen_hw[0]), 1.0)
    fill = torch.tensor(FILLS[len(image)])
    return smaller._replace(image=cut(smaller.image, square, fill), left=square.left, top=square.top)


def of_at_most(image: Tensor, limit: int) -> Framed:
    """The photograph (C, H, W) uint8, made smaller where it has more pixels than `limit`; its aspect is kept."""
    height, width = image.shape[-2:]
    if height * width <= limit:
        return _resized(image, (height, width))
    scale = math.sqrt(limit / (height * width))
    rows = min(max(1, round(height * scale)), limit)
    return _resized(image, (rows, max(1, min(round(width * scale), limit // rows))))


def told_of(frame: Framed) -> list[str]:
    """One sentence where the photograph was made smaller."""
    (height, width), (rows, columns) = frame.size_hw, frame.seen_hw
    if frame.seen_hw == frame.size_hw:
        return []
    return [f"the network saw it made smaller, from {width}x{height} to {columns}x{rows} pixels"]


def _resized(image: Tensor, seen_hw: tuple[int, int]) -> Framed:
    return Framed(resize_to(image, seen_hw), 0, 0, seen_hw, (image.shape[-2], image.shape[-1]))
