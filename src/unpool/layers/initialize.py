"""Initial weights."""

import math
from typing import Literal

from torch import Tensor, nn


def he_normal(module: nn.Module, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """Draws every convolution and linear weight in `module` from N(0, 2 / fan), in place; biases become zero.

    Torch's global generator is used: seed it before. Source: He et al. 2015, arXiv:1502.01852.

    Args:
        module: its layers are changed.
        mode: "fan_in" counts the inputs of an output, "fan_out" the outputs of an input.
    """
    for layer in module.modules():
        if isinstance(weight := getattr(layer, "weight", None), Tensor) and weight.is_meta:
            continue  # a shape without values, for which torch takes 10 ms a layer to draw nothing
        if isinstance(layer, nn.ConvTranspose2d):
            # an output of a transposed convolution sums over every stride-th tap of its filter
            fan = layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan))
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def normal_linear(module: nn.Module, *, std: float = 0.01) -> None:
    """Draws every linear weight in `module` from N(0, std^2), in place; biases become zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
