"""Erases a rectangle of the image, so that a network does not depend on one part of a thing.

Source: Zhong et al. 2017, arXiv:1708.04896, algorithm 1.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from unpool.data.augment.resized_crop import AREA, ASPECT
from unpool.data.augment.step import Finishing
from unpool.data.draws import Draws
from unpool.errors import RecipeError
from unpool.limits import PAIR, SHARE, check_number, check_range
from unpool.types import Batch

_TRIES = 20


class Erasing(Finishing):
    """Erases, with probability `p`, the first of twenty drawn rectangles that fits the image.

    Its position is drawn uniformly in whole pixels. Targets stay: a network is to answer for what is covered, too.

    Args:
        p: probability of a rectangle.
        area: smallest and largest share of the area of the image, 0.001 to 1, drawn uniformly.
        aspect: smallest and largest height over width, 0.01 to 100, drawn uniformly.
        fill: "random" for a random value of each channel of each pixel, "mean" for the mean colour of the data.
    """

    def __init__(
        self,
        *,
        p: Annotated[float, SHARE] = 0.5,
        area: Annotated[Sequence[Annotated[float, AREA]], PAIR] = (0.02, 0.4),
        aspect: Annotated[Sequence[Annotated[float, ASPECT]], PAIR] = (0.3, 1 / 0.3),
        fill: Literal["random", "mean"] = "random",
    ) -> None:
        self._p = check_number("erasing.p", p, SHARE)
        self._area = check_range("erasing.area", area, AREA)
        self._aspect = check_range("erasing.aspect", aspect, ASPECT)
        if fill not in ("random", "mean"):
            raise RecipeError(f"erasing.fill is {fill!r}; expected random or mean")
        self._is_random = fill == "random"

    def finish(self, image: Tensor, draws: Draws, *, size_hw: Tensor, fill: Tensor) -> Batch:
        is_erased, sides = draws.coin(self._p), self._sides(draws, size_hw)
        top, left = (draws.integer(0, size_hw[:, i] - sides[:, i]) for i in (0, 1))
        generators, result = draws.generators() if self._is_random else [], image.clone()
        is_erased &= sides.isfinite().all(1)
        for i in is_erased.nonzero().flatten().tolist():
            (height, width), (y, x) = sides[i].int().tolist(), (int(top[i]), int(left[i]))
            part = result[i, :, y : y + height, x : x + width]
            if self._is_random:
                part.copy_(torch.empty(part.shape, dtype=part.dtype).random_(0, 256, generator=generators[i]))
            else:
                part.copy_(fill[:, None, None].expand(part.shape))
        return {"image": result}

    def _sides(self, draws: Draws, size_hw: Tensor) -> Tensor:
        """(B, 2) height and width in whole pixels, infinite where none of the rectangles fits."""
        chosen = torch.full_like(size_hw, torch.inf)
        for _ in range(_TRIES):
            area, aspect = draws.uniform(*self._area) * size_hw.prod(1), draws.uniform(*self._aspect)
            tried = torch.stack(((area * aspect).sqrt(), (area / aspect).sqrt()), dim=1).round().clamp(min=1)
            fits = (tried < size_hw).all(1, keepdim=True)
            chosen = torch.where(chosen.isfinite(), chosen, torch.where(fits, tried, torch.inf))
        return chosen
