"""How many products a sum in a layer has, which decides the variance of its weights.

A 3x3 convolution from C to D channels has n_in = 9 C and n_out = 9 D, of one group; its stride is not counted. An
output of a transposed convolution sums over every stride-th tap of its filter, so that its n_in is divided by the
strides.
"""

import math
from typing import NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from unpool.layers.local import LocallyConnected


class Fans(NamedTuple):
    """Products in the sum of one output of a layer, and in that of the gradient of one input."""

    n_in: float
    n_out: float


def fans_of(layer: nn.Module) -> Fans | None:
    """Counts the fans of a layer; None for a layer that has none.

    Example:
        >>> fans_of(nn.Conv2d(16, 32, 3)), fans_of(nn.ReLU())
        (Fans(n_in=144, n_out=288), None)
        >>> fans_of(nn.ConvTranspose2d(16, 32, 4, stride=2))
        Fans(n_in=64.0, n_out=512)
    """
    if isinstance(layer, nn.Linear):
        return Fans(layer.in_features, layer.out_features)
    if isinstance(layer, LocallyConnected):
        outputs, inputs, *kernel = layer.weight.shape[2:]
        return Fans(inputs * math.prod(kernel), outputs * math.prod(kernel))
    if not isinstance(layer, _ConvNd):
        return None
    taps = math.prod(layer.kernel_size)
    inputs, outputs = layer.in_channels // layer.groups * taps, layer.out_channels // layer.groups * taps
    is_transposed = isinstance(layer, _ConvTransposeNd)
    return Fans(inputs / math.prod(layer.stride) if is_transposed else inputs, outputs)
