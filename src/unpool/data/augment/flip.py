"""Mirrors the image: exchanges left and right."""

from typing import Annotated

from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import SHARE, check_number
from unpool.ops import geometry


class Flip(Geometry):
    """Mirrors each image left to right with probability `p`.

    Keypoints that are mirror images of one another (`DataInfo.flip_pairs`) are exchanged.
    """

    keeps_pixels = True

    def __init__(self, *, p: Annotated[float, SHARE] = 0.5) -> None:
        self._p = check_number("flip.p", p, SHARE)

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return geometry.mirror(draws.coin(self._p), size_hw[:, 1]), size_hw
