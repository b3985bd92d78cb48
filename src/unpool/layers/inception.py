"""The Inception module (Szegedy et al. 2015, arXiv:1409.4842, Figure 2b)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Layer = Callable[[int, int, int], nn.Module]  # (in_channels, out_channels, kernel), the size kept


class Widths(NamedTuple):
    """One row of the paper's Table 1: the filters of each convolution."""

    one: int
    reduce3: int
    three: int
    reduce5: int
    five: int
    pooled: int

    @property
    def out_channels(self) -> int:
        """Number of output channels of the module."""
        return self.one + self.three + self.five + self.pooled


class Inception(nn.Module):
    """Four branches on one map, joined: (B, in_channels, H, W) -> (B, widths.out_channels, H, W).

    The branches are 1x1; 1x1 and 3x3; 1x1 and 5x5; 3x3 max pooling and 1x1; their outputs are concatenated in this
    order.

    Args:
        in_channels: channels of the input.
        widths: filters of each convolution.
        layer: makes one convolution with its norm and activation.
        large: side of the third branch's filter, 5 in the paper.
    """

    def __init__(self, in_channels: int, widths: Widths, *, layer: Layer, large: int = 5) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                layer(in_channels, widths.one, 1),
                nn.Sequential(layer(in_channels, widths.reduce3, 1), layer(widths.reduce3, widths.three, 3)),
                nn.Sequential(layer(in_channels, widths.reduce5, 1), layer(widths.reduce5, widths.five, large)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), layer(in_channels, widths.pooled, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)
