"""Convolutions that take over the batch norm behind them, so that one operation does the work of two.

In evaluation a batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) is a scale and a shift per channel, which the
weights and the bias of the layer before it can hold: W' = s W and b' = s b + t, where s = weight / sqrt(variance + eps)
and t = bias - s mean. It works for any network, since nothing is looked up in its code: it is run, every operation that
reads a convolution is noted, and afterwards each folded layer and the answer are compared with those before.

Vouched for is what ran: all norms and all of the answer on two images in float64 (float32 where the code asks
for that), and the answer in the precision of the network's own. Not vouched for are branches that no such image takes,
by its size or its values; what a second call gives after a first; and what hooks of convolutions keep outside of the
network, which is from now on what the norm gave.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from unpool.convert.folding.comparison import inexact, vouch_for
from unpool.convert.folding.flow import Flow, OwnTensors, observe
from unpool.convert.folding.weights import Site, absorb, folded_weights, has_hooks, overflowing
from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS
from unpool.tracing.probes import copied, in_float64, other_batch, probe_images
from unpool.tracing.rewriter import Change


class Left(NamedTuple):
    """A batch norm that stays, and why."""

    layer: str
    reason: str


class Folded(NamedTuple):
    """A network whose batch norms are gone where they could be.

    Attributes:
        network: in evaluation mode; the layers that were folded have a bias, their norms are `nn.Identity`, or the
            activation that stood inside of the norm.
        changes: which norm went where, in the order in which they run.
        left: the norms that stay.
    """

    network: nn.Module
    changes: tuple[Change, ...]
    left: tuple[Left, ...]

    def __str__(self) -> str:
        count = len(self.changes) + len(self.left)
        if not count:
            return (
                "nothing was folded: the network has no batch norm, neither a call of torch.nn.functional.batch_norm "
                "nor a module with running_mean and running_var"
            )
        told = "; ".join(f"{layer or 'the network itself'} stays: {reason}" for layer, reason in self.left)
        done = f"{len(self.changes)} of {count} batch norms were folded" if self.changes else "no batch norm was folded"
        return f"{done}; {told}" if told else done


def fold_batch_norm(network: nn.Module, *, image: Tensor | None = None) -> Folded:
    """A copy of the network in which convolutions and linear layers have taken over the batch norms behind them.

    Args:
        network: takes one image (B, C, H, W), or whatever `image` is; it is left as it is, in the mode that it is in.
        image: what the two networks are compared on, for those that take none of 64x96, 224x224 and a few others.

    Returns:
        The network in evaluation mode: the remembered statistics are in its weights, and training it goes on without
        batch norm. Its answers are those of the network before in evaluation mode, within 1e-9 of the largest value in
        float64, and its dtype and device the same. Norms that follow no convolution, that share it with another
        reader or that have no remembered statistics are in `left`, each with the reason.

    Raises:
        NotConvertible: the network cannot be run or copied, or its answer differs without a layer that is to blame.
    """
    if image is not None and not (isinstance(image, Tensor) and image.dim() and image.numel()):
        told = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise NotConvertible(f"image= is {told}: give one tensor with values in it, (B, C, H, W) for most networks")
    try:
        with _undisturbed():
            return _fold(network, image)
    except NotConvertible:
        raise
    except FAULTS as error:
        name = type(network).__name__
        raise NotConvertible(f"{name} cannot be folded: its code ends in {type(error).__name__}: {error}") from error


def _fold(network: nn.Module, image: Tensor | None) -> Folded:
    make, before, images = _comparable(network, image)
    sites, left = _plan(network, observe(before, images))
    weights = folded_weights(network, sites.values())
    left |= overflowing(network, sites.values(), weights)
    left |= inexact(before, make, {name: site for name, site in sites.items() if name not in left}, weights, images)
    sites = {name: site for name, site in sites.items() if name not in left}
    result = absorb(copied(network), sites.values(), weights)
    if sites:
        vouch_for(network, result, list(sites), images[0].float() if image is None else image)
    changes = tuple(_change(network, site) for site in sites.values())
    return Folded(result, changes, tuple(Left(*item) for item in left.items()))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whatever is drawn and however gradients are kept, nothing of it shows outside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.inference_mode(mode=False), torch.no_grad(), torch.random.fork_rng(devices):
        yield


def _comparable(network: nn.Module, image: Tensor | None) -> tuple[Callable[[], nn.Module], nn.Module, list[Tensor]]:
    """What makes copies in evaluation mode, one that has run, and images that they take, in batches of two sizes: in
    float64, or float32 where the code asks for that.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise NotConvertible(f"{type(network).__name__} was compiled by torch.jit: fold it before")
    try:
        return _taken(partial(_fresh, network), network, image)
    except NotConvertible:
        return _taken(lambda: _fresh(network).float(), network, image)


def _taken(
    make: Callable[[], nn.Module], network: nn.Module, image: Tensor | None
) -> tuple[Callable[[], nn.Module], nn.Module, list[Tensor]]:
    before = make()
    with OwnTensors(network):
        first, *others = probe_images(before, image)
        return make, before, [first, other_batch(before, next(iter(others), first))]


def _fresh(network: nn.Module) -> nn.Module:
    before = in_float64(network)
    _call_batch_norm(before)
    return before


def _call_batch_norm(network: nn.Module) -> None:
    """Lets every such module inside give what it gives by `F.batch_norm`."""
    for module in filter(_is_frozen, network.modules()):
        module.forward = partial(_batch_norm, module)


def _is_frozen(module: nn.Module) -> bool:
    """By its class's name, since torchvision takes long to import and need not be here."""
    kind = type(module)
    return f"{kind.__module__}.{kind.__qualname__}" == "torchvision.ops.misc.FrozenBatchNorm2d"


def _batch_norm(module: Any, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(
        x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
    )


def _plan(network: nn.Module, flow: Flow) -> tuple[dict[str, Site], dict[str, str]]:
    """Which norms can be folded, and why the others cannot."""
    sites, left = {}, {}
    for norm, calls in flow.norms.items():
        kept = tuple(flow.inside.kept[norm])
        if reason := _obstacle(network, flow, norm):
            left[norm] = reason
        elif len(kept) != 1 or kept[0] is None:
            ran = norm in flow.ran
            left[norm] = "the code of its module does more than to normalise" if ran else "another module runs it"
        else:
            sites[norm] = Site(norm, tuple(sorted(flow.sources[norm])), next(iter(calls)), kept[0])
    for name, module in network.named_modules():
        if name not in flow.norms and _is_norm(module):
            ran = name in flow.ran
            left[name] = "it does not call torch.nn.functional.batch_norm" if ran else "it did not run"
    return sites, left


def _is_norm(module: nn.Module) -> bool:
    own = {name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))}
    return isinstance(module, _BatchNorm) or {"running_mean", "running_var"} <= own


def _obstacle(network: nn.Module, flow: Flow, norm: str) -> str:
    """Why a norm cannot be folded into what it reads; empty where it can."""
    calls, sources = flow.norms[norm], sorted(flow.sources[norm])
    call = next(iter(calls))
    if not call.is_fixed:
        return "it has no remembered statistics and normalises by the batch"
    if len(calls) > 1 or not call.is_known:
        return "its statistics, weights or eps are not those of one layer"
    if not norm:
        return "it is not a module inside of the network"
    if has_hooks(network.get_submodule(norm)):
        return "it has hooks, which would be lost"
    return next(filter(None, (_unfit(network, flow, norm, conv) for conv in sources)), "")


def _unfit(network: nn.Module, flow: Flow, norm: str, conv: str) -> str:
    """Why a norm cannot be folded into one of the things that it reads; empty where it can."""
    if conv not in flow.readers:
        return f"it reads no convolution but {conv}"
    if others := sorted(flow.readers[conv] - {norm}):
        return f"{conv} is read by {' and '.join(others)} too"
    layer: Any = network.get_submodule(conv)
    (call,) = flow.norms[norm]
    if not any(layer.bias is x for x in (None, *layer.parameters(recurse=False), *layer.buffers(recurse=False))):
        return f"the bias of {conv} is computed"
    if _channels(layer) != flow.tensors[str(call.mean)].numel():
        return f"its channels are not those of {conv}"
    return ""


def _channels(layer: Any) -> int:
    return layer.out_channels if isinstance(layer, _ConvNd) else layer.out_features


def _change(network: nn.Module, site: Site) -> Change:
    old = f"{type(network.get_submodule(site.norm)).__name__} after {', '.join(site.convs)}"
    kept = [network.get_submodule(name) for name in site.kept]
    acts = [type(module).__name__ for module in kept if not isinstance(module, nn.Identity)]
    return Change(
        site.norm, old, f"in the weights of {', '.join(site.convs)}" + (f", then {', '.join(acts)}" if acts else "")
    )
