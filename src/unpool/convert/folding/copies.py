"""Copies of a network and images on which a folded network can be compared with it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.convert.folding.flow import OriginalGuard
from unpool.errors import NotConvertible
from unpool.tracing.probes import copy_in_float64, other_batch, probe_images


class Copies(NamedTuple):
    """What a network is compared on.

    Attributes:
        make: returns a copy in evaluation mode that has not run.
        before: a copy that has run.
        images: in batches of two sizes.
    """

    make: Callable[[], nn.Module]
    before: nn.Module
    images: list[Tensor]


def comparable_copies(network: nn.Module, image: Tensor | None) -> Copies:
    """Copies a network in float64, or in float32 where its code asks for that.

    Raises:
        NotConvertible: the network was compiled, cannot be copied, or takes none of the images.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise NotConvertible(f"{type(network).__name__} was compiled by torch.jit: fold it before")
    try:
        return _copies(partial(_copy, network), network, image)
    except NotConvertible:
        return _copies(lambda: _copy(network).float(), network, image)


def _copies(make: Callable[[], nn.Module], network: nn.Module, image: Tensor | None) -> Copies:
    before = make()
    with OriginalGuard(network):
        first, *others = probe_images(before, image)
        return Copies(make, before, [first, other_batch(before, next(iter(others), first))])


def _copy(network: nn.Module) -> nn.Module:
    """A copy in which torchvision's batch norm of buffers calls `F.batch_norm`, as every other batch norm does."""
    copied = copy_in_float64(network)
    for module in filter(_is_frozen, copied.modules()):
        module.forward = partial(_batch_norm, module)
    return copied


def _is_frozen(module: nn.Module) -> bool:
    """By its class's name, since torchvision takes long to import and need not be here."""
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}" == "torchvision.ops.misc.FrozenBatchNorm2d"


def _batch_norm(module: Any, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(
        x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
    )
