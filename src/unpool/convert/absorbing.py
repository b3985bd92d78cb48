"""Scale and shift of a batch norm, taken over by the weights and the bias of the layers before it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from unpool.convert.flow import Norm


class Site(NamedTuple):
    """A norm that goes, by name.

    Attributes:
        norm: its module.
        convs: the layers that take it over.
        call: its tensors.
        kept: modules inside of it that are called behind its arithmetic.
    """

    norm: str
    convs: tuple[str, ...]
    call: Norm
    kept: tuple[str, ...]


def absorb(network: nn.Module, sites: Iterable[Site]) -> None:
    """Folds the norms in place: new parameters for the layers before them, `nn.Identity` or what is kept for them."""
    tensors, modules = _tensors(network), dict(network.named_modules())
    new: dict[int, nn.Module] = {}
    for site in sites:
        for conv in site.convs:
            layer: Any = modules[conv]
            weight, bias = _folded(layer, site.call, tensors)
            layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
            layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
        inside = ((name.rpartition(".")[2], modules[name]) for name in site.kept)
        kept = OrderedDict((name, module) for name, module in inside if not isinstance(module, nn.Identity))
        new[id(modules[site.norm])] = nn.Sequential(kept).eval() if kept else nn.Identity().eval()
    for parent in list(modules.values()):
        for name, child in list(parent._modules.items()):
            if id(child) in new:
                setattr(parent, name, new[id(child)])


def overflowing(network: nn.Module, sites: Iterable[Site]) -> dict[str, str]:
    """The norms for which the new weights have no place in the network's own precision, each with the reason."""
    tensors, modules = _tensors(network), dict(network.named_modules())
    told = {}
    for site in sites:
        for conv in site.convs:
            if not all(value.isfinite().all() for value in _folded(modules[conv], site.call, tensors)):
                told[site.norm] = f"the weights of {conv} would not be finite in {modules[conv].weight.dtype}"
    return told


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@torch.no_grad()
def _folded(layer: Any, call: Norm, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer that takes the norm over, computed in float64, in the dtype of its weight."""
    scale = (_wide(tensors[str(call.variance)]) + call.eps).rsqrt()
    if call.weight is not None:
        scale = scale * _wide(tensors[call.weight])
    shift = -_wide(tensors[str(call.mean)]) * scale
    if call.bias is not None:
        shift = shift + _wide(tensors[call.bias])
    if layer.bias is not None:
        shift = shift + _wide(layer.bias) * scale
    weight = _wide(layer.weight) * _along_outputs(layer, scale)
    return weight.to(layer.weight), shift.to(layer.weight)


def _wide(x: Tensor) -> Tensor:
    return x.detach().cpu().double()


def _along_outputs(layer: Any, scale: Tensor) -> Tensor:
    """The factor of each output channel, of a shape that multiplies the layer's weight.

    A transposed convolution has (in, out / groups, ...), in which group follows group along the first axis; every other
    layer has (out, in / groups, ...).
    """
    ones = (1,) * (layer.weight.dim() - 2)
    if not isinstance(layer, _ConvTransposeNd):
        return scale.view(-1, 1, *ones)
    inside = layer.in_channels // layer.groups
    return scale.view(layer.groups, -1).repeat_interleave(inside, 0).view(layer.in_channels, -1, *ones)
