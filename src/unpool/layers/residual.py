"""Residual blocks and their three shortcuts (He et al. 2016, arXiv:1512.03385, sections 3.2, 3.3 and 4.1)."""

from torch import Tensor, nn

from unpool.layers.conv import ConvNormAct


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)); both outputs have the same shape.

    Attributes:
        drop: applied to what the branch gives, such as `StochasticDepth`; None applies nothing.
    """

    drop: nn.Module | None

    def __init__(self, branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.register_module("drop", None)
        self.branch = branch
        self.shortcut = shortcut
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(dropped(self.drop, self.branch(x)) + self.shortcut(x))


def dropped(drop: nn.Module | None, x: Tensor) -> Tensor:
    """What `drop` makes of the output of a branch; the output itself where it is None."""
    return x if drop is None else drop(x)


class ZeroPad(nn.Module):
    """Every `stride`-th pixel, then zero channels at the end: (B, C, H, W) -> (B, C + extra, H/stride, W/stride)."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, 0, self.extra))


def zero_padded(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Makes the shortcut of option A, without parameters: where the shape changes, subsampling and zero channels."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ZeroPad(out_channels - in_channels, stride)


def projected(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Makes the shortcut of option B: a 1x1 convolution where the shape changes, else the identity."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return always_projected(in_channels, out_channels, stride)


def always_projected(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Makes the shortcut of option C: a 1x1 convolution on every block."""
    return ConvNormAct(in_channels, out_channels, 1, stride=stride, act=None)
