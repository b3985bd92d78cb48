"""Shears the image about its centre; pixels outside of it get the mean colour, and IGNORE in masks."""

from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import check_number
from unpool.ops import geometry

DEGREES = Interval(ge=0, le=60)


class Shear(Geometry):
    """Leans upright lines to a side by an angle drawn uniformly from -`degrees` to +`degrees`; the size stays.

    Lines that lie stay where they are. `rotate` beside it gives shears along any line.

    Args:
        degrees: largest angle, at most 60.
    """

    def __init__(self, *, degrees: Annotated[float, DEGREES]) -> None:
        self._degrees = check_number("shear.degrees", degrees, DEGREES)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return geometry.shear(draws.uniform(-self._degrees, self._degrees), size_hw), size_hw
