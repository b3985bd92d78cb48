"""U-Net as published (Ronneberger et al. 2015, arXiv:1505.04597, Figure 1), and with padded convolutions.

`unet_valid` is the paper's: no padding, the output 184 pixels smaller than the image. `unet_mirror` has the same
weights and pads the image by mirroring, as the paper's overlap-tile strategy does, so that the output has the size of
the image, whatever it is. `unet_same` pads each convolution with zeros instead; `unet_same_bn` adds batch norm. The
padded networks round sizes up when they halve them and crop the surplus; multiples of 16 have none.
"""

from collections.abc import Callable
from functools import partial
from math import floor

import torch
from torch import Tensor, nn

from unpool.errors import DataError
from unpool.layers.conv import ConvNormAct
from unpool.layers.cropping import crop_centre, mirror_pad
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant

Block = Callable[[int, int], nn.Module]  # (in_channels, out_channels)


def conv_twice(in_channels: int, out_channels: int, *, padding: int) -> nn.Module:
    """Makes two 3x3 convolutions with bias, each with ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=padding),
        nn.ReLU(),
    )


def conv_norm_twice(in_channels: int, out_channels: int) -> nn.Module:
    """Makes two padded 3x3 convolutions, each with batch norm and ReLU."""
    return nn.Sequential(ConvNormAct(in_channels, out_channels), ConvNormAct(out_channels, out_channels))


class UNet(nn.Module):
    """Image (B, in_channels, H, W) -> logits (B, num_classes, H', W'), (H', W') smaller if the blocks do not pad.

    Args:
        block: makes the two convolutions of one level.
        in_channels: channels of the image.
        num_classes: logits of each pixel.
        width: channels at the size of the image; they double with each halving.
        depth: number of halvings.
        dropout: share dropped at the two coarsest levels of the contracting path.

    Attributes:
        stride: stride of the coarsest map.
    """

    def __init__(
        self,
        block: Block,
        /,
        *,
        in_channels: int = 1,
        num_classes: int = 2,
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = 2**depth
        widths = [width * 2**i for i in range(depth + 1)]
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.drop = nn.Dropout(dropout)
        self.down = nn.ModuleList(map(block, [in_channels, *widths[:-1]], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.join = nn.ModuleList(block(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(width, num_classes, 1)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        skips, x = [], image
        for i, block in enumerate(self.down):
            x = block(self.pool(x) if i else x)
            skips.append(self.drop(x) if i >= len(self.up) - 1 else x)
        x = skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(_crop_and_concatenate(skips.pop(), up(x)))
        return self.head(x)


def _crop_and_concatenate(skip: Tensor, x: Tensor) -> Tensor:
    """The channels of the skip, then those of the coarser path, both cropped to the smaller of their sizes."""
    size = min(skip.shape[-2], x.shape[-2]), min(skip.shape[-1], x.shape[-1])
    return torch.cat([crop_centre(skip, size), crop_centre(x, size)], dim=1)


class ValidUNet(nn.Module):
    """The paper's network: image (B, in_channels, H, W) -> logits (B, num_classes, H - 184, W - 184) at depth 4.

    Legal sizes are 2^depth * b + 4 * (2^depth - 1): 188, 204, ..., 572, ... at depth 4. Arguments as in UNet.

    Attributes:
        stride: stride of the coarsest map.
        shrinkage: pixels by which the output is lower and narrower than the image.

    Raises:
        DataError: the image's size is not legal.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 2,
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.net = UNet(
            partial(conv_twice, padding=0),
            in_channels=in_channels,
            num_classes=num_classes,
            width=width,
            depth=depth,
            dropout=dropout,
        )
        self.stride = self.net.stride
        self.shrinkage = 12 * self.stride - 8  # four pixels at each block, in pixels of the image

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.legal(height) != height or self.legal(width) != width:
            raise DataError(
                f"the image is {(height, width)} (H, W) and unet_valid takes sizes of {self.stride} * b + "
                f"{4 * (self.stride - 1)} only; the nearest are {self._near(height)} high, {self._near(width)} wide: "
                "resize to one of them, or use unet_mirror, which takes every size"
            )
        return self.net(image)

    def legal(self, size: int) -> int:
        """Returns the smallest legal height or width that is at least `size`."""
        rest = 4 * (self.stride - 1)
        least = floor(8 - 4 / self.stride) + 1  # below it nothing is left of the map
        return self.stride * max(least, -(-(size - rest) // self.stride)) + rest

    def _near(self, size: int) -> str:
        above = self.legal(size)
        below = above - self.stride
        return f"{below} or {above}" if above != size and self.legal(below) == below else str(above)


class MirrorUNet(nn.Module):
    """The paper's network on an image padded by mirroring: (B, in_channels, H, W) -> (B, num_classes, H, W), any size.

    The weights are those of ValidUNet; at depth 4 the padding is 92 pixels at the top and left, and at least as many
    at the bottom and right. Arguments as in UNet.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 2,
        width: int = 64,
        depth: int = 4,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.valid = ValidUNet(
            in_channels=in_channels, num_classes=num_classes, width=width, depth=depth, dropout=dropout
        )
        self.stride = self.valid.stride

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        before = self.valid.shrinkage // 2
        after = [self.valid.legal(size + self.valid.shrinkage) - size - before for size in (height, width)]
        x = self.valid(mirror_pad(image, before=before, after_hw=(after[0], after[1])))
        return x[..., :height, :width]


_FIGURE_1 = "Ronneberger et al. 2015, Figure 1"
_SAME = partial(UNet, partial(conv_twice, padding=1))

VARIANTS = {
    "unet_valid": Variant(
        build=ValidUNet,
        kind="whole",
        params=31_030_658,
        gmacs=150.42842,
        source=_FIGURE_1,
        input=(1, 572, 572),
        output=(2, 388, 388),
        classes=2,
    ),
    "unet_mirror": Variant(
        build=MirrorUNet,
        kind="whole",
        params=31_030_658,
        gmacs=150.42842,
        source=f"{_FIGURE_1}, with its overlap-tile strategy",
        input=(1, 388, 388),
        output=(2, 388, 388),
        classes=2,
    ),
    "unet_same": Variant(
        build=_SAME,
        kind="whole",
        params=31_030_658,
        gmacs=192.38434,
        source=f"{_FIGURE_1}, convolutions padded",
        input=(1, 512, 512),
        output=(2, 512, 512),
        classes=2,
    ),
    "unet_same_bn": Variant(
        build=partial(UNet, conv_norm_twice),
        kind="whole",
        params=31_036_546,
        gmacs=192.38434,
        source=f"{_FIGURE_1}, convolutions padded, batch norm: 5,888 more by hand",
        input=(1, 512, 512),
        output=(2, 512, 512),
        classes=2,
    ),
}
