"""How large activations and gradients are at each depth of a network, which initial weights decide.

Where activations shrink from layer to layer, the last ones say nothing about the image; where gradients shrink on the
way back, the first ones do not learn (Glorot and Bengio 2010, "Understanding the difficulty of training deep
feedforward neural networks", section 4.2).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.layers.fans import fans_of


class Signal(NamedTuple):
    """What passes one convolution or linear layer.

    Attributes:
        layer: its name.
        kind: its class.
        activation: deviation of its output, over all samples, channels and positions.
        gradient: deviation of the gradient of that output; None where none arrived.
    """

    layer: str
    kind: str
    activation: float
    gradient: float | None


def measure_signals(network: nn.Module, run: Callable[[], Tensor]) -> list[Signal]:
    """Runs a network forwards and backwards and returns what passes each layer, in the order in which they ran.

    Of a layer that runs several times the first call counts. The gradients of the weights are left as they were.

    Args:
        network: in the mode in which it is to run.
        run: runs the network on a batch, once, and returns the loss, ().

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> [one.layer for one in measure_signals(network, lambda: network(torch.rand(8, 4)).sum())]
        ['0', '2']
    """
    activations: dict[str, float] = {}
    gradients: dict[str, float] = {}
    layers = {name: module for name, module in network.named_modules() if fans_of(module) is not None}
    watch = partial(_watch, activations, gradients)
    hooks = [module.register_forward_hook(partial(watch, name)) for name, module in layers.items()]
    try:
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        torch.autograd.grad(run(), weights, allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        Signal(name, type(layers[name]).__name__, deviation, gradients.get(name))
        for name, deviation in activations.items()
    ]


def _watch(
    activations: dict[str, float], gradients: dict[str, float], name: str, layer: Any, inputs: Any, output: Tensor
) -> None:
    if name in activations:
        return
    activations[name] = _deviation(output)
    if output.requires_grad:
        output.register_hook(lambda gradient: gradients.__setitem__(name, _deviation(gradient)))


def _deviation(values: Tensor) -> float:
    return float(values.detach().double().std(correction=0))
