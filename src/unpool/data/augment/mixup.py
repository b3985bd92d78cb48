"""Mixes the colours of each image with those of another one, and their labels as much.

Source: Zhang et al. 2018, arXiv:1710.09412, section 2. The authors draw one share for all images of a batch; here each
image has its share, so that it does not depend on the batch.
"""

from typing import Annotated

from annotated_types import Interval
from torch import Tensor

from unpool.data.augment.step import Finishing
from unpool.data.draws import Draws
from unpool.limits import check_number
from unpool.ops.mixing import blend, partners
from unpool.types import Batch

ALPHA = Interval(ge=0.01, le=100)


class Mixup(Finishing):
    """Adds to each image another one of its batch; the image has a share drawn from Beta(`alpha`, `alpha`).

    Two neighbours of a batch are partners of one another, and the last of an odd number stays as it is: orders that
    shuffle make any two neighbours. The share is in `mix`.

    Args:
        alpha: 0.01 to 100: shares near 0 and 1 where it is small (0.1 to 0.4 for ImageNet), all alike at 1 (CIFAR).
    """

    mixes = True

    def __init__(self, *, alpha: Annotated[float, ALPHA] = 0.2) -> None:
        self._alpha = check_number("mixup.alpha", alpha, ALPHA)

    def finish(self, image: Tensor, draws: Draws, *, size_hw: Tensor, fill: Tensor) -> Batch:
        partner, mix = partners(len(image)), draws.beta(self._alpha)
        return {"image": blend(image, partner, mix), "partner": partner, "mix": mix.float()}
