"""Pastes a rectangle of another image into each image, and mixes their labels by area.

Source: Yun et al. 2019, arXiv:1905.04899, section 3.1 and appendix A. The authors draw one rectangle for all images of
a batch; here each image has one, so that it does not depend on the batch.
"""

from typing import Annotated

import torch
from torch import Tensor

from unpool.data.augment.mixup import ALPHA
from unpool.data.augment.step import Finishing
from unpool.data.draws import Draws
from unpool.limits import SHARE, check_number
from unpool.ops.mixing import partners, paste
from unpool.types import Batch


class Cutmix(Finishing):
    """Pastes, with probability `p`, a rectangle of another image of the batch at the position that it has there.

    The area of the rectangle is 1 - s of the image, s drawn from Beta(`alpha`, `alpha`); it has the image's aspect and
    its centre is anywhere, so that a part of it may lie beside the image. `mix` is the share of the image that is
    really kept. Partners are those of `mixup`.

    Args:
        alpha: 0.01 to 100; 1 makes all areas alike.
        p: probability of a rectangle; the authors take 1 for ImageNet and 0.5 for CIFAR.
    """

    mixes = True

    def __init__(self, *, alpha: Annotated[float, ALPHA] = 1.0, p: Annotated[float, SHARE] = 1.0) -> None:
        self._alpha = check_number("cutmix.alpha", alpha, ALPHA)
        self._p = check_number("cutmix.p", p, SHARE)

    def finish(self, image: Tensor, draws: Draws, *, size_hw: Tensor, fill: Tensor) -> Batch:
        partner, is_cut = partners(len(image)), draws.coin(self._p)
        side = (1 - draws.beta(self._alpha)).sqrt()  # of the rectangle, as a share of the image's
        centre = torch.stack([draws.uniform(), draws.uniform()], dim=1)
        sides = torch.tensor(image.shape[-2:], dtype=torch.float64)
        half = (side[:, None] * sides / 2).floor()
        centre = (centre * sides).floor()
        low, high = (torch.minimum(end.clamp(min=0), sides) for end in (centre - half, centre + half))
        high = torch.where(is_cut[:, None], high, low)
        kept = 1 - (high - low).prod(1) / sides.prod()
        boxes = torch.cat((low.flip(1), high.flip(1)), dim=1).long()
        return {"image": paste(image, partner, boxes), "partner": partner, "mix": kept.float()}
