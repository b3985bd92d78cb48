"""Rotates the image about its centre; pixels outside of it get the mean colour, and IGNORE in masks."""

from torch import Tensor

from unpool.data.augment.step import Geometry, check_number
from unpool.data.draws import Draws
from unpool.ops import geometry


class Rotate(Geometry):
    """Rotates each image by an angle drawn uniformly from -`degrees` to +`degrees`; its size stays."""

    def __init__(self, *, degrees: float) -> None:
        self._degrees = check_number("rotate.degrees", degrees, low=0, high=180)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        return geometry.rotation(draws.uniform(-self._degrees, self._degrees), size_hw), size_hw
