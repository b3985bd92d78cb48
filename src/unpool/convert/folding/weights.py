"""Weights and biases that take over the scale and shift of a batch norm."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from unpool.convert.folding.flow import Norm, tensors_by_name


class Site(NamedTuple):
    """A norm to be folded; modules by name.

    Attributes:
        norm: its module.
        convs: the layers whose output it normalises.
        call: its tensors.
        kept: modules inside of its module that run after the norm, as an activation.
    """

    norm: str
    convs: tuple[str, ...]
    call: Norm
    kept: tuple[str, ...]


class Weights(NamedTuple):
    """Weight and bias of a layer with its norm folded in, in float64."""

    weight: Tensor
    bias: Tensor


def folded_weights(network: nn.Module, sites: Iterable[Site]) -> dict[str, Weights]:
    """Computes the weights of each layer before a norm, by the layer's name."""
    tensors, modules = tensors_by_name(network), dict(network.named_modules())
    return {conv: _folded(modules[conv], site.call, tensors) for site in sites for conv in site.convs}


def find_overflowing(network: nn.Module, sites: Iterable[Site], weights: Mapping[str, Weights]) -> dict[str, str]:
    """Returns the norms whose folded weights overflow the dtype of their layer, each with the reason."""
    overflowing = {}
    for site in sites:
        for conv in site.convs:
            dtype: Any = network.get_submodule(conv).weight.dtype
            if not all(value.to(dtype).isfinite().all() for value in weights[conv]):
                overflowing[site.norm] = f"the weights of {conv} would not be finite in {dtype}"
    return overflowing


def fold_sites(network: nn.Module, sites: Iterable[Site], weights: Mapping[str, Weights]) -> nn.Module:
    """Changes a network: the layers get the folded weights, each norm becomes `nn.Identity` or the modules it keeps."""
    modules = dict(network.named_modules())
    new: dict[int, nn.Module] = {}
    for site in sites:
        for conv in site.convs:
            layer: Any = modules[conv]
            weight, bias = (value.to(layer.weight) for value in weights[conv])
            layer.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
            layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
        inside = ((name.rpartition(".")[2], modules[name]) for name in site.kept)
        kept = OrderedDict((name, module) for name, module in inside if not _does_nothing(module))
        new[id(modules[site.norm])] = nn.Sequential(kept).eval() if kept else nn.Identity().eval()
    for parent in list(modules.values()):
        for name, child in list(parent._modules.items()):
            parent._modules[name] = new.get(id(child), child)
    return network


def has_hooks(module: nn.Module) -> bool:
    """Whether the module has forward or backward hooks."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _does_nothing(module: nn.Module) -> bool:
    return type(module) is nn.Identity and not has_hooks(module)


@torch.no_grad()
def _folded(layer: Any, call: Norm, tensors: Mapping[str, Tensor]) -> Weights:
    scale = (_wide(tensors[str(call.variance)]) + call.eps).rsqrt()
    if call.weight is not None:
        scale = scale * _wide(tensors[call.weight])
    shift = -_wide(tensors[str(call.mean)]) * scale
    if call.bias is not None:
        shift = shift + _wide(tensors[call.bias])
    if layer.bias is not None:
        shift = shift + _wide(layer.bias) * scale
    return Weights(_wide(layer.weight) * _along_outputs(layer, scale), shift)


def _wide(x: Tensor) -> Tensor:
    return x.detach().cpu().double()


def _along_outputs(layer: Any, scale: Tensor) -> Tensor:
    """The factor of each output channel, in a shape that multiplies the layer's weight.

    The weight of a transposed convolution is (in, out / groups, ...), group after group along the first axis; that of
    every other layer is (out, in / groups, ...).
    """
    ones = (1,) * (layer.weight.dim() - 2)
    if not isinstance(layer, _ConvTransposeNd):
        return scale.view(-1, 1, *ones)
    inside = layer.in_channels // layer.groups
    return scale.view(layer.groups, -1).repeat_interleave(inside, 0).view(layer.in_channels, -1, *ones)
