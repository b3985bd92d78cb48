"""Convolution with its usual companions."""

from collections import OrderedDict

from torch import nn


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm, activation; padded so that only `stride` changes the size.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the filter, odd.
        stride: step of the convolution.
        bias: learn a bias before the norm, as Caffe's releases do; the norm cancels it.
        act: the activation; None leaves it out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        bias: bool = False,
        act: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=bias),
            norm=nn.BatchNorm2d(out_channels),
        )
        if act is not None:
            layers["act"] = act()
        super().__init__(layers)
