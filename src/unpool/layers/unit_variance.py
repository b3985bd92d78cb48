"""Layer-sequential unit variance: weights scaled by what a batch of data makes of them.

Mishkin and Matas 2016, "All you need is a good init", arXiv:1511.06422, algorithm 1: the layers in the order in which
they run, each divided by the deviation of its output, of all samples, channels and positions together, until the
variance is near 1. Here one pass suffices, since each layer passes on its output as its new weights give it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unpool.layers.dropout import DropConnectLinear, StochasticDepth
from unpool.layers.fans import fans_of
from unpool.layers.upsample import interpolating_weight

ROUNDS = 10  # of a layer: the paper's T_max


def scale_to_unit_variance(network: nn.Module, run: Callable[[], Any], *, tolerance: float = 0.1) -> dict[str, float]:
    """Scales the weights of every convolution and linear layer, in place, so that its output has variance 1.

    Batch norms normalise by the batch, as in training, and keep their statistics; dropout drops nothing. A layer that
    runs several times is scaled at its first call.

    Args:
        network: its mode is left as it was.
        run: runs the network on a batch, once.
        tolerance: largest distance of a variance from 1 with which a layer is left as it is.

    Returns:
        The variance of each layer's output afterwards, by name, in the order in which they ran. Layers that did not
        run are missing, and keep their weights, as does one whose output is constant, which has 0.

    Example:
        >>> layer = nn.Linear(8, 8)
        >>> variances = scale_to_unit_variance(layer, lambda: layer(torch.randn(64, 8)), tolerance=0.01)
        >>> round(variances[""], 1)
        1.0
    """
    variances: dict[str, float] = {}
    hooks = [
        layer.register_forward_hook(partial(_scale, variances, name, tolerance))
        for name, layer in _layers(network).items()
    ]
    try:
        with torch.no_grad(), _as_in_training(network):
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return variances


def unscaled(network: nn.Module, variances: Mapping[str, float]) -> list[str]:
    """Names of the layers that are not among those that `scale_to_unit_variance` scaled."""
    return [name for name in _layers(network) if name not in variances]


def _layers(network: nn.Module) -> dict[str, nn.Module]:
    return {
        name: layer
        for name, layer in network.named_modules()
        if fans_of(layer) is not None and not _interpolates(layer)
    }


def _interpolates(layer: nn.Module) -> bool:
    """Whether it interpolates as it stands, which another scale would undo."""
    weight = interpolating_weight(layer) if isinstance(layer, nn.ConvTranspose2d) else None
    return weight is not None and torch.equal(layer.weight, weight)  # type: ignore[arg-type]


def _scale(
    variances: dict[str, float], name: str, tolerance: float, layer: Any, inputs: tuple[Any, ...], output: Tensor
) -> Tensor:
    """Scales a layer and returns its new output."""
    if name in variances:
        return output
    for _ in range(ROUNDS):
        variance = float(output.float().var(correction=0))
        variances[name] = variance
        if abs(variance - 1) <= tolerance or not 0 < variance < torch.inf:
            break
        layer.weight /= variance**0.5
        output = layer.forward(*inputs)
    else:
        variances[name] = float(output.float().var(correction=0))
    return output


@contextmanager
def _as_in_training(network: nn.Module) -> Iterator[None]:
    """Norms normalise by the batch, dropout does nothing; afterwards modes and buffers are as before."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd | DropConnectLinear | StochasticDepth):
            module.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
        for buffer, before in buffers:
            buffer.copy_(before)
