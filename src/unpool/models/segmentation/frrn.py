"""Full-resolution residual networks A and B (Pohlen et al. 2017, arXiv:1611.08323, Table 1).

As in the authors' release (TobyPDE/FRRN, 48 channels and 32 lanes). Three differences: poolings round up and the
surplus of each upsampling is cut off, so that every image size works; bilinear upsampling does not shift the map, where
the release's filter of odd side shifts it by a quarter of a coarse pixel; weights are drawn from He's normal
distribution, in the release from the uniform one of the same variance.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.cropping import crop
from unpool.layers.initialize import he_normal
from unpool.models.catalog import Variant

Stages = Sequence[tuple[int, int]]  # of each stage: units, channels in multiples of the width


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions and a shortcut, no activation after the sum: (B, in_channels, H, W) -> (B, C', H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            ConvNormAct(in_channels, out_channels), ConvNormAct(out_channels, out_channels, act=None)
        )
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.branch(x) + self.shortcut(x)


class FullResolutionUnit(nn.Module):
    """FRRU: computes both streams at the size of the pooled one, and adds to the residual stream at full size.

    Args:
        in_channels: channels of the pooled stream.
        out_channels: channels of the pooled stream after the unit.
        lanes: channels of the residual stream.
        factor: how many times smaller the pooled stream is.
    """

    def __init__(self, in_channels: int, out_channels: int, *, lanes: int, factor: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(factor, ceil_mode=True)
        self.convs = nn.Sequential(
            ConvNormAct(in_channels + lanes, out_channels), ConvNormAct(out_channels, out_channels)
        )
        self.to_lanes = nn.Conv2d(out_channels, lanes, 1)
        self.unpool = nn.Upsample(scale_factor=factor, mode="nearest")

    def forward(self, pooled: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, H/factor, W/factor), (B, lanes, H, W) -> both streams, the first with `out_channels`."""
        pooled = self.convs(torch.cat([pooled, self.pool(residual)], dim=1))
        added = self.unpool(self.to_lanes(pooled))
        return pooled, residual + crop(added, (residual.shape[-2], residual.shape[-1]))


class FRRN(nn.Module):
    """A stream that is pooled and upsampled again, and one at full size: image -> logits (B, num_classes, H, W).

    Args:
        down: stages of units, each after a pooling.
        up: stages of units, each after an upsampling; one fewer than `down`.
        in_channels: channels of the image.
        num_classes: logits of each pixel.
        width: channels at the size of the image.
        lanes: channels of the residual stream.

    Attributes:
        stride: stride of the coarsest map.
    """

    def __init__(
        self,
        down: Stages,
        up: Stages,
        /,
        *,
        in_channels: int = 3,
        num_classes: int = 19,
        width: int = 48,
        lanes: int = 32,
    ) -> None:
        super().__init__()
        self.stride = 2 ** len(down)
        self.stem = nn.Sequential(ConvNormAct(in_channels, width, 5), *(ResidualUnit(width, width) for _ in range(3)))
        self.split = ConvNormAct(width, lanes, 1, act=None)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")
        factors = [2 ** (i + 1) for i in range(len(down))]
        stages, channels = [], width
        for (units, multiple), factor in zip((*down, *up), factors + factors[-2::-1], strict=True):
            inputs = (channels, *(units - 1) * (multiple * width,))
            unit = partial(FullResolutionUnit, lanes=lanes, factor=factor)
            stages.append(nn.ModuleList(unit(c, multiple * width) for c in inputs))
            channels = multiple * width
        self.down = nn.ModuleList(stages[: len(down)])
        self.up = nn.ModuleList(stages[len(down) :])
        self.merge = nn.Sequential(
            ResidualUnit(channels + lanes, width), ResidualUnit(width, width), ResidualUnit(width, width)
        )
        self.head = nn.Conv2d(width, num_classes, 1)
        he_normal(self, mode="fan_in")

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        residual = self.split(x)  # (B, lanes, H, W)
        sizes = []
        for stage in self.down:
            sizes.append((x.shape[-2], x.shape[-1]))
            x = self.pool(x)
            for unit in stage.children():
                x, residual = unit(x, residual)
        for stage in self.up:
            x = crop(self.upsample(x), sizes.pop())
            for unit in stage.children():
                x, residual = unit(x, residual)
        x = crop(self.upsample(x), sizes.pop())
        return self.head(self.merge(torch.cat([x, residual], dim=1)))


_A = ((3, 2), (4, 4), (2, 8), (2, 8)), ((2, 4), (2, 4), (2, 2))
_B = ((3, 2), (4, 4), (2, 8), (2, 8), (2, 8)), ((2, 4), (2, 4), (2, 4), (2, 2))

VARIANTS = {
    "frrn_a": Variant(
        build=partial(FRRN, *_A),
        kind="whole",
        params=17_746_803,
        gmacs=123.0986,
        source="Pohlen et al. 2017, Table 1 (a); TobyPDE/FRRN, FRRNABuilder",
        input=(3, 256, 512),
        output=(19, 256, 512),
        classes=19,
    ),
    "frrn_b": Variant(
        build=partial(FRRN, *_B),
        kind="whole",
        params=24_755_699,
        gmacs=496.1694,
        source="Pohlen et al. 2017, Table 1 (b); TobyPDE/FRRN, FRRNBBuilder",
        input=(3, 512, 1024),
        output=(19, 512, 1024),
        classes=19,
    ),
}
