"""Residual units with the activation before the weights (He et al. 2016, arXiv:1603.05027, Figure 1b)."""

from collections import OrderedDict

from torch import Tensor, nn

from unpool.layers.residual import dropped


class NormActConv(nn.Sequential):
    """Batch norm, ReLU, convolution; padded so that only `stride` changes the size."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        super().__init__(OrderedDict(norm=nn.BatchNorm2d(in_channels), act=nn.ReLU(), conv=conv))


class Preactivated(nn.Module):
    """x + branch(x), without an activation after the sum; the branch starts with a norm and an activation.

    Attributes:
        drop: as in `Residual`.
    """

    drop: nn.Module | None

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.register_module("drop", None)
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + dropped(self.drop, self.branch(x))


class SharedPreactivated(nn.Module):
    """shortcut(a) + branch(a) of a = relu(norm(x)): the first unit of a stage, where the shape may change.

    Args:
        channels: of the input.
        branch: starts with a convolution.
        shortcut: its output has the shape of the branch's.

    Attributes:
        drop: as in `Residual`.
    """

    drop: nn.Module | None

    def __init__(self, channels: int, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.register_module("drop", None)
        self.norm = nn.BatchNorm2d(channels)
        self.act = nn.ReLU()
        self.branch = branch
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(x))
        return self.shortcut(x) + dropped(self.drop, self.branch(x))
