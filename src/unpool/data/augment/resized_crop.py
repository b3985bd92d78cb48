"""Crops a window of random area and aspect and stretches it to the network's input size.

Source: Szegedy et al. 2015, arXiv:1409.4842, section 6.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.limits import PAIR, check_range
from unpool.ops import geometry

AREA = Interval(ge=0.001, le=1)
ASPECT = Interval(ge=0.01, le=100)
_TRIES = 10


class ResizedCrop(Geometry):
    """Crops the first of ten drawn windows that fits the image, or the last one cut to the image, and stretches it.

    Its position is drawn uniformly in whole pixels. Recipes refuse it with `data.rule: fit`, which stretches nothing.

    Args:
        area: smallest and largest share of the area of the image, 0.001 to 1, drawn uniformly.
        aspect: smallest and largest width over height, 0.01 to 100, drawn uniformly on a logarithmic scale.
    """

    chooses_window = True
    chooses_scale = True

    def __init__(
        self,
        *,
        area: Annotated[Sequence[Annotated[float, AREA]], PAIR] = (0.08, 1.0),
        aspect: Annotated[Sequence[Annotated[float, ASPECT]], PAIR] = (3 / 4, 4 / 3),
    ) -> None:
        self._area = check_range("resized_crop.area", area, AREA)
        self._aspect = [math.log(a) for a in check_range("resized_crop.aspect", aspect, ASPECT)]

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        window = self._window(draws, size_hw)
        top, left = (draws.integer(0, size_hw[:, i] - window[:, i]) for i in (0, 1))
        share = target_hw / window
        return geometry.translation(left, top) @ geometry.zoom(share[:, 1], share[:, 0]), target_hw

    def _window(self, draws: Draws, size_hw: Tensor) -> Tensor:
        """(B, 2) height and width in whole pixels."""
        chosen = torch.full_like(size_hw, torch.inf)
        for _ in range(_TRIES):
            area = draws.uniform(*self._area) * size_hw.prod(1)
            aspect = draws.uniform(*self._aspect).exp()
            tried = torch.stack(((area / aspect).sqrt(), (area * aspect).sqrt()), dim=1).round()
            chosen = torch.where((chosen <= size_hw).all(1, keepdim=True), chosen, tried)
        return torch.minimum(chosen, size_hw).clamp(min=1)
