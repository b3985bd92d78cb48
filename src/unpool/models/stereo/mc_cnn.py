"""MC-CNN (Zbontar and LeCun 2016, arXiv:1510.05970): two towers that share their weights compare patches of a pair.

Fast: towers of 3x3 convolutions without an activation behind the last one, features of unit length, their scalar
product. Accurate: an activation behind each convolution, and layers that are connected at each pixel on both features.
Rows have the sizes of table 4, those without a name of a set Middlebury's; `mc_cnn_wide` sees a square of 35 pixels.

Differs in where it is computed: on whole images, each convolution padded with zeros, which gives what patches give
away from the borders. The first connected layer is computed for each image by itself, before its halves are added.
Not of this file, and other than in the paper: images are normalised by the recipe's mean and deviation, not each by its
mean and deviation (section 5); scores are not aggregated over crosses (4.1), and go through semi-global matching where
`task.semi_global` says so, with penalties that do not depend on gradients (4.2).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant
from unpool.ops.stereo import matching_scores

LEAST = -20.0  # a logit beside the right image


class Described(NamedTuple):
    """Features (B, F, H, W) of both images."""

    left: Tensor
    right: Tensor


class McCnnFast(nn.Module):
    """Scores of disparities as scalar products: (B, 2C, H, W) -> (B, D, H, W) in -1..1, any size.

    Args:
        in_channels: of both images.
        num_classes: number of disparities.
        width: channels of each convolution.
        dilations: of each convolution, one after the other.

    Raises:
        RecipeError: the number of channels is odd.
    """

    stride = 1

    def __init__(
        self,
        *,
        in_channels: int = 2,
        num_classes: int = 64,
        width: int = 64,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.disparities = num_classes
        self.tower = _tower(_of_one(in_channels), width, dilations)
        self.tower.pop(-1)  # no activation behind the last convolution
        he_normal(self, mode="fan_in")

    def describe(self, image: Tensor) -> Described:
        """Features of unit length of the left and of the right image."""
        both = nn.functional.normalize(self.tower(torch.cat(image.chunk(2, dim=1))), dim=1)
        return Described(*both.chunk(2))

    def compare(self, left: Tensor, right: Tensor) -> Tensor:
        """(B, H, W): how alike features (B, F, H, W) are at each pixel, -1 to 1."""
        return (left * right).sum(1)

    def forward(self, image: Tensor) -> Tensor:
        return matching_scores(*self.describe(image), self.disparities)


class McCnnAccurate(nn.Module):
    """Logits of disparities: (B, 2C, H, W) -> (B, D, H, W), any size; `LEAST` where they lie beside the right image.

    Args:
        layers: convolutions.
        connected: layers that are connected at each pixel, without the last one of a single number.
        in_channels: of both images.
        num_classes: number of disparities.
        width: channels of each convolution.
        hidden: units of each connected layer.

    Raises:
        RecipeError: the number of channels is odd.
    """

    stride = 1

    def __init__(
        self,
        layers: int,
        connected: int,
        /,
        *,
        in_channels: int = 2,
        num_classes: int = 64,
        width: int = 112,
        hidden: int = 384,
    ) -> None:
        super().__init__()
        self.disparities = num_classes
        self.tower = _tower(_of_one(in_channels), width, layers * (1,))
        self.of_left = nn.Conv2d(width, hidden, 1)
        self.of_right = nn.Conv2d(width, hidden, 1, bias=False)
        deeper = [part for _ in range(connected - 1) for part in (nn.Conv2d(hidden, hidden, 1), nn.ReLU())]
        self.head = nn.Sequential(nn.ReLU(), *deeper, nn.Conv2d(hidden, 1, 1))
        he_normal(self, mode="fan_in")

    def describe(self, image: Tensor) -> Described:
        """What the first connected layer has of the left and of the right image."""
        left, right = self.tower(torch.cat(image.chunk(2, dim=1))).chunk(2)
        return Described(self.of_left(left), self.of_right(right))

    def compare(self, left: Tensor, right: Tensor) -> Tensor:
        """(B, H, W): the logit that what `describe` gives of two pixels shows the same point."""
        return self.head(left + right)[:, 0]

    def forward(self, image: Tensor) -> Tensor:
        left, right = self.describe(image)
        width = left.shape[-1]
        scores = []
        for d in range(self.disparities):
            logits = self.compare(left[..., min(d, width - 1) :], right[..., : max(width - d, 1)])
            logits = logits if d < width else torch.full_like(logits, LEAST)
            scores.append(nn.functional.pad(logits, (width - logits.shape[-1], 0), value=LEAST))
        return torch.stack(scores, dim=1)


def _of_one(channels: int) -> int:
    if channels % 2:
        raise RecipeError(
            f"in_channels is {channels}; a pair has the channels of both images: set data.channels to 6 for colour or "
            "2 for grey"
        )
    return channels // 2


def _tower(channels: int, width: int, dilations: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


_TABLE = "Zbontar and LeCun 2016, table 4"


def _row(build: Callable[..., nn.Module], params: int, source: str) -> Variant:
    """A row of 64 disparities; networks are as large for any number of them, and for images of any size."""
    return Variant(
        build=build,
        kind="whole",
        params=params,
        source=source,
        input=(2, 96, 128),
        output=(64, 96, 128),
        classes=64,
    )


VARIANTS = {
    "mc_cnn_fast": _row(McCnnFast, 148_352, f"{_TABLE}, Middlebury, fast; counted by hand"),
    "mc_cnn_fast_kitti": _row(
        partial(McCnnFast, dilations=(1, 1, 1, 1)), 111_424, f"{_TABLE}, KITTI, fast; counted by hand"
    ),
    "mc_cnn_wide": _row(partial(McCnnFast, width=32, dilations=(1, 1, 2, 4, 8, 1)), 46_560, "unpool, as fast, dilated"),
    "mc_cnn_accurate": _row(partial(McCnnAccurate, 5, 3), 835_617, f"{_TABLE}, Middlebury, accurate; counted by hand"),
    "mc_cnn_accurate_kitti": _row(partial(McCnnAccurate, 4, 4), 870_449, f"{_TABLE}, KITTI, accurate; counted by hand"),
}
