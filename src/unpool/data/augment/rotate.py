"""Rotates the image about its centre; pixels outside of it get the mean colour, and IGNORE in masks."""

from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import check_number
from unpool.ops import geometry

DEGREES = Interval(ge=0, le=180)


class Rotate(Geometry):
    """Rotates each image by an angle drawn uniformly from -`degrees` to +`degrees`, at most 180; its size stays."""

    def __init__(self, *, degrees: Annotated[float, DEGREES]) -> None:
        self._degrees = check_number("rotate.degrees", degrees, DEGREES)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return geometry.rotation(draws.uniform(-self._degrees, self._degrees), size_hw), size_hw
