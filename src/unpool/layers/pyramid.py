"""Modules that read one map or several at many scales."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct
from unpool.ops.upsampling import upsample


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: (B, C, H, W) -> (B, (2 + number of rates) * width, H, W).

    A 1x1 convolution, one 3x3 convolution per rate, and the average of the whole map, each with batch norm and ReLU,
    concatenated. The average has one position per image, so that training needs batches of two or more.
    Source: Chen et al. 2017, arXiv:1706.05587, section 3.3.

    Args:
        in_channels: channels of the map.
        width: channels of each branch.
        rates: steps between the taps of the 3x3 convolutions, on the map.
    """

    def __init__(self, in_channels: int, width: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList([ConvNormAct(in_channels, width, 1)])
        for rate in rates:
            branch = ConvNormAct(in_channels, width)
            set_rate(cast(nn.Conv2d, branch[0]), rate)
            self.branches.append(branch)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(in_channels, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        average = self.average(x)  # (B, width, 1, 1)
        return torch.cat([*parts, average.expand(-1, -1, x.shape[-2], x.shape[-1])], dim=1)


def set_rate(conv: nn.Conv2d, rate: int) -> None:
    """Sets the dilation of a convolution to `rate`, in place, and its padding such that the size of the map is kept."""
    conv.dilation = (rate, rate)
    conv.padding = tuple(rate * (side // 2) for side in conv.kernel_size)


class PyramidPooling(nn.Module):
    """The map and its averages over grids of several sizes: (B, C, H, W) -> (B, C + number of bins * width, H, W).

    Each grid of averages passes a 1x1 convolution with batch norm and ReLU and is resized bilinearly to the size of the
    map, with aligned corners. A grid of one cell needs batches of two or more in training.
    Source: Zhao et al. 2017, arXiv:1612.01105, section 3.2.

    Args:
        in_channels: channels of the map.
        width: channels of each grid.
        bins: cells of the grids along each side.
    """

    def __init__(self, in_channels: int, width: int, *, bins: Sequence[int]) -> None:
        super().__init__()
        self.grids = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvNormAct(in_channels, width, 1)) for side in bins
        )

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[-2], x.shape[-1])
        grids = [nn.functional.interpolate(grid(x), size, mode="bilinear", align_corners=True) for grid in self.grids]
        return torch.cat([x, *grids], dim=1)


class FeaturePyramid(nn.Module):
    """Adds coarser maps to finer ones: maps of `channels` -> maps of the same sizes, of `width` channels each.

    A 1x1 convolution on each map, the coarser sum doubled (nearest) and added to the finer one, a 3x3 convolution on
    each sum; biases, no norm, no activation. Source: Lin et al. 2017, arXiv:1612.03144, section 3.

    Args:
        channels: of the input maps, fine to coarse, each with half as many rows and columns as the one before.
        width: channels of the output maps.
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        lateral = [nn.Conv2d(c, width, 1) for c in channels]
        smooth = [nn.Conv2d(width, width, 3, padding=1) for _ in channels]
        for conv in lateral + smooth:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(cast(Tensor, conv.bias))
        self.lateral = nn.ModuleList(lateral)
        self.smooth = nn.ModuleList(smooth)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        sums: list[Tensor] = []
        for lateral, x in zip(reversed(self.lateral), reversed(maps), strict=True):
            x = lateral(x)
            size = (x.shape[-2], x.shape[-1])
            sums.append(x + upsample(sums[-1], 2, size, mode="nearest-exact") if sums else x)
        return tuple(smooth(x) for smooth, x in zip(self.smooth, reversed(sums), strict=True))


class PooledLevel(nn.Module):
    """Adds one map at twice the coarsest stride, P6: every second pixel of it (max pooling of side 1, stride 2)."""

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return (*maps, nn.functional.max_pool2d(maps[-1], 1, stride=2))


class ConvolvedLevels(nn.Module):
    """Adds two maps at twice and four times the coarsest stride, P6 and P7, by 3x3 convolutions of stride 2.

    The second reads the first through a ReLU. Source: Lin et al. 2017, arXiv:1708.02002, section 4; P6 is computed from
    P5, as in torchvision 0.28.0, and in the paper from the backbone's map below it.

    Args:
        width: channels of every map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        for conv in (self.p6, self.p7):
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(cast(Tensor, conv.bias))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        p6 = self.p6(maps[-1])
        return (*maps, p6, self.p7(nn.functional.relu(p6)))
