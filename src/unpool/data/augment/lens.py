"""Distorts the image as a lens does: straight lines that miss the centre bend, inwards or outwards.

Source: Brown 1966, "Decentering distortion of lenses": the first radial term.
"""

from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Bending
from unpool.data.draws import Draws
from unpool.limits import check_number
from unpool.ops.bending import Field, radial

STRENGTH = Interval(ge=0, le=0.25)


class Lens(Bending):
    """Shows at r times half the diagonal what lies at r (1 + k r**2), k drawn evenly from -`strength` to +`strength`.

    A positive k makes a barrel, whose corners lie beside the image, with the mean colour and IGNORE in masks; a
    negative one a cushion.

    Args:
        strength: largest k, at most 0.25, where no two positions meet.
    """

    def __init__(self, *, strength: Annotated[float, STRENGTH] = 0.1) -> None:
        self._strength = check_number("lens.strength", strength, STRENGTH)

    def fields(self, draws: Draws, size_hw: Tensor) -> list[Field]:
        strengths = draws.uniform(-self._strength, self._strength).tolist()
        return [radial(k, size) for k, size in zip(strengths, size_hw, strict=True)]
