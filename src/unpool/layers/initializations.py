"""Initial weights by the name that they have in a recipe, `model.init`.

All draw with mean 0; what differs is the variance, and the shape of the distribution, whose variance is the same in
each. An output of a layer is a sum of n_in products, the gradient of an input one of n_out (`layers.fans`).

Filters that interpolate (`BilinearDeconv`) are never drawn, and biases stay those of the network unless `bias` is set:
the bias of a detector's classes, for one, is the logarithm of how rare things are.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from unpool.errors import RecipeError
from unpool.layers.fans import Fans, fans_of
from unpool.layers.local import LocallyConnected
from unpool.layers.residual import Residual
from unpool.layers.upsample import BilinearDeconv, interpolating_weight

Draw = Literal["normal", "truncated_normal", "uniform"]
Bias = Annotated[float, Interval(ge=-1000, le=1000)]
Slope = Annotated[float, Interval(ge=-1, le=1)]
Gain = Annotated[float, Interval(gt=0, le=1000)]
TRUNCATED = 0.8796256610342398  # deviation of a normal distribution of deviation 1 that is cut at -2 and 2


def draw_weights(weight: Tensor, variance: float, draw: Draw) -> None:
    """Draws a tensor with mean 0 and a variance, in place, from torch's generator.

    Example:
        >>> import torch
        >>> weight = torch.empty(100_000)
        >>> draw_weights(weight, 4.0, "truncated_normal")
        >>> round(float(weight.std()), 1), bool(weight.abs().max() <= 2 * 2 / TRUNCATED)
        (2.0, True)
    """
    deviation = math.sqrt(variance)
    if draw == "normal":
        nn.init.normal_(weight, std=deviation)
    elif draw == "uniform":
        nn.init.uniform_(weight, -math.sqrt(3) * deviation, math.sqrt(3) * deviation)
    else:
        wide = deviation / TRUNCATED
        nn.init.trunc_normal_(weight, std=wide, a=-2 * wide, b=2 * wide)


@dataclass(frozen=True, kw_only=True)
class Initialization:
    """Draws the weights of every convolution and linear layer of a network anew, in place.

    Attributes:
        bias: of these layers; null keeps the biases of the network. A small positive one, of 0.01 to 0.1, keeps more
            units behind a ReLU alive at first.
        bilinear: whether transposed convolutions from C to C channels interpolate each channel (Long et al. 2015,
            arXiv:1411.4038, section 3.3).
        zero_residual: whether the last batch norm of each residual block starts with a scale of 0, so that the block
            passes on its input (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """

    bias: Bias | None = None
    bilinear: bool = False
    zero_residual: bool = False

    @abstractmethod
    def draw_layer(self, layer: nn.Module, fans: Fans) -> None:
        """Draws the weight of one layer."""

    def __call__(self, network: nn.Module) -> None:
        """Draws all layers, in the order in which the network lists them, from torch's generator.

        Raises:
            RecipeError: the network has no layer of a kind that was asked for.
        """
        for layer in network.modules():
            fans = fans_of(layer)
            if fans is None or isinstance(layer, BilinearDeconv) or layer.weight.is_meta:  # type: ignore[union-attr]
                continue
            self.draw_layer(layer, fans)
            if self.bias is not None and isinstance(layer.bias, Tensor):
                nn.init.constant_(layer.bias, self.bias)
        if self.bilinear:
            _interpolate(network)
        if self.zero_residual:
            zero_last_scales(network)


@dataclass(frozen=True, kw_only=True)
class LeCun(Initialization):
    """Variance 1 / n_in: sums keep the variance of their inputs (LeCun et al. 1998, "Efficient BackProp", section 4.6).

    Attributes:
        draw: the distribution.
    """

    draw: Draw = "normal"

    def draw_layer(self, layer: nn.Module, fans: Fans) -> None:
        draw_weights(_weight(layer), self.variance(fans), self.draw)

    def variance(self, fans: Fans) -> float:
        """The variance of a weight."""
        return 1 / fans.n_in


class LeCunBackward(LeCun):
    """Variance 1 / n_out: gradients keep their variance on the way back."""

    def variance(self, fans: Fans) -> float:
        return 1 / fans.n_out


class Glorot(LeCun):
    """Variance 2 / (n_in + n_out), between the two of LeCun (Glorot and Bengio 2010, equation 12)."""

    def variance(self, fans: Fans) -> float:
        return 2 / (fans.n_in + fans.n_out)


@dataclass(frozen=True, kw_only=True)
class He(LeCun):
    """Variance 2 / ((1 + slope^2) n), made for ReLU and leaky ReLU (He et al. 2015, arXiv:1502.01852, equation 15).

    Attributes:
        slope: of the activation for negative values, 0 for a ReLU.
        fan: n is n_in, which keeps activations, or n_out, which keeps gradients.
    """

    slope: Slope = 0.0
    fan: Literal["in", "out"] = "in"

    def variance(self, fans: Fans) -> float:
        return 2 / ((1 + self.slope**2) * (fans.n_in if self.fan == "in" else fans.n_out))


@dataclass(frozen=True, kw_only=True)
class Orthogonal(Initialization):
    """Orthogonal rows, or columns where there are more rows than columns (Saxe et al. 2014, arXiv:1312.6120).

    The weights of an output are a row of n_in numbers; groups are separate matrices. Of a transposed convolution the
    weights of an input are a row.

    Attributes:
        gain: length of each row or column.
    """

    gain: Gain = 1.0

    def draw_layer(self, layer: nn.Module, fans: Fans) -> None:
        weight = _weight(layer)
        parts = weight.flatten(0, 1) if isinstance(layer, LocallyConnected) else weight.chunk(_groups(layer))
        for part in parts:
            nn.init.orthogonal_(part, self.gain)


@dataclass(frozen=True, kw_only=True)
class LSUV(Orthogonal):
    """Orthogonal, then each layer is scaled until its output has variance 1 (Mishkin and Matas 2016, arXiv:1511.06422).

    The variance is that over the first batch of the training order, see `layers.unit_variance`.

    Attributes:
        tolerance: largest distance of a variance from 1 with which a layer is left as it is.
    """

    tolerance: Annotated[float, Interval(gt=0, lt=1)] = 0.1


INITS: Mapping[str, Callable[..., Initialization]] = {
    "lecun": LeCun,
    "lecun_backward": LeCunBackward,
    "glorot": Glorot,
    "he": He,
    "orthogonal": Orthogonal,
    "lsuv": LSUV,
}


def _weight(layer: nn.Module) -> Tensor:
    return layer.weight  # type: ignore[return-value]


def _groups(layer: nn.Module) -> int:
    return layer.groups if isinstance(layer, _ConvNd) else 1


def _interpolate(network: nn.Module) -> None:
    """Makes every transposed convolution that can interpolate do so."""
    transposed = [layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)]
    weights = {layer: weight for layer in transposed if (weight := interpolating_weight(layer)) is not None}
    if not weights:
        raise RecipeError(
            "model.init has bilinear, and the network has no transposed convolution from C to C channels: leave it out"
        )
    with torch.no_grad():
        for layer, weight in weights.items():
            layer.weight.copy_(weight)


def zero_last_scales(network: nn.Module) -> None:
    """Sets the scale of the last norm of each `Residual` block to 0, in place: the branch then adds nothing.

    Raises:
        RecipeError: the network has no such block.

    Example:
        >>> import torch
        >>> from unpool.layers.conv import ConvNormAct
        >>> block = Residual(ConvNormAct(4, 4, act=None), nn.Identity())
        >>> zero_last_scales(block)
        >>> x = torch.rand(2, 4, 5, 5)
        >>> torch.equal(block(x), x)
        True
    """
    norms = [norm for block in network.modules() if isinstance(block, Residual) and (norm := _last_norm(block.branch))]
    if not norms:
        raise RecipeError(
            "model.init has zero_residual, and the network has no residual block that ends in a norm: leave it out"
        )
    for norm in norms:
        nn.init.zeros_(_weight(norm))


def _last_norm(branch: nn.Module) -> nn.Module | None:
    """The norm with a scale that ends a branch; None where a branch ends otherwise."""
    layers = [m for m in branch.modules() if isinstance(m, _BatchNorm | nn.GroupNorm) or fans_of(m) is not None]
    is_norm = bool(layers) and fans_of(layers[-1]) is None and isinstance(layers[-1].weight, Tensor)
    return layers[-1] if is_norm else None
