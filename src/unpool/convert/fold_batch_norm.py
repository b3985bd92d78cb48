"""Convolutions that take over the batch norm behind them, so that one operation does the work of two.

In evaluation a batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) is a scale and a shift per channel, which the
weights and the bias of the layer before it can hold: W' = s W and b' = s b + t, where s = weight / sqrt(variance + eps)
and t = bias - s mean. It works for any network, since nothing is looked up in its code: it is run, every operation that
reads a convolution is noted, and afterwards each folded layer and the answer are compared with those before.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from unpool.convert.absorbing import Site, absorb, overflowing
from unpool.convert.flow import Flow, observe
from unpool.convert.frozen import call_batch_norm, is_frozen
from unpool.convert.probes import in_float64, other_batch, probes
from unpool.convert.recorder import tensors_of
from unpool.convert.rewriting import Change, difference
from unpool.convert.tracing import FAULTS
from unpool.errors import NotConvertible

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # relative to the largest value of a map


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
            return "nothing was folded: the network has no batch norm"
        told = "; ".join(f"{layer} stays: {reason}" for layer, reason in self.left)
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
        NotConvertible: the network cannot be run, or its answer differs without a layer that is to blame.
    """
    before, images = _comparable(network, image)
    flow, behind = observe(before, images)
    sites, left = _plan(before, flow, behind.kept)
    left |= overflowing(network, sites.values())
    sites = {name: site for name, site in sites.items() if name not in left}
    left |= _inexact(before, sites, images)
    result = copy.deepcopy(network).eval()
    absorb(result, sites.values())
    changes = tuple(_change(before, site) for site in sites.values())
    return Folded(result, changes, tuple(Left(*item) for item in left.items()))


def _comparable(network: nn.Module, image: Tensor | None) -> tuple[nn.Module, list[Tensor]]:
    """A copy in evaluation mode and images that it takes, in batches of two sizes: in float64, or float32 where its
    code asks for that.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise NotConvertible(f"{type(network).__name__} was compiled by torch.jit: fold it before")
    before = in_float64(network)
    call_batch_norm(before)
    try:
        images = probes(before, image)
    except NotConvertible:
        before = before.float()
        images = probes(before, image)
    first, *others = images
    return before, [other_batch(before, first), *(others or [first])]


def _plan(
    network: nn.Module, flow: Flow, kept: Mapping[str, Iterable[tuple[str, ...] | None]]
) -> tuple[dict[str, Site], dict[str, str]]:
    """Which norms can be folded, and why the others cannot."""
    sites, left = {}, {}
    for norm, calls in flow.norms.items():
        inside = tuple(kept.get(norm, ()))
        if reason := _obstacle(network, flow, norm):
            left[norm] = reason
        elif len(inside) != 1 or inside[0] is None:
            left[norm] = "the code of its module does more than to normalise"
        else:
            sites[norm] = Site(norm, tuple(sorted(flow.sources[norm])), next(iter(calls)), inside[0])
    for name, module in network.named_modules():
        if (isinstance(module, _BatchNorm) or is_frozen(module)) and name not in flow.norms:
            left[name] = "it did not run"
    return sites, left


def _obstacle(network: nn.Module, flow: Flow, norm: str) -> str:
    """Why a norm cannot be folded into what it reads; empty where it can."""
    calls, sources = flow.norms[norm], sorted(flow.sources[norm])
    call = next(iter(calls))
    if not call.is_fixed:
        return "it has no remembered statistics and normalises by the batch"
    if len(calls) > 1 or not call.is_known or not norm:
        return "its statistics, weights or eps are not those of one layer"
    for conv in sources:
        if conv not in flow.readers:
            return f"it reads no convolution but {conv}"
        if others := sorted(flow.readers[conv] - {norm}):
            return f"{conv} is read by {' and '.join(others)} too"
        layer: Any = network.get_submodule(conv)
        if not any(layer.bias is x for x in (None, *layer.parameters(recurse=False), *layer.buffers(recurse=False))):
            return f"the bias of {conv} is computed"
        if _channels(layer) != network.get_buffer(str(call.mean)).numel():
            return f"its channels are not those of {conv}"
    return ""


def _channels(layer: Any) -> int:
    return layer.out_channels if isinstance(layer, _ConvNd) else layer.out_features


def _inexact(before: nn.Module, sites: dict[str, Site], images: list[Tensor]) -> dict[str, str]:
    """Takes out the sites that differ once they are folded, one after the other."""
    left = {}
    wanted = [_outputs(before, list(sites), x) for x in images]
    while True:
        after = copy.deepcopy(before)
        absorb(after, sites.values())
        try:
            name, reason = _first_difference(wanted, [_outputs(after, list(sites), x) for x in images], sites)
        except FAULTS as error:
            name, reason = _not_running(before, sites, images), f"without it the network does not run ({error})"
        if not reason:
            return left
        if not name:
            raise NotConvertible(
                f"{type(before).__name__} cannot be folded: {reason}; code that was compiled, or that keeps values "
                "between calls, may read what a convolution gives: fold its parts"
            )
        left[name] = reason
        del sites[name]


def _outputs(network: nn.Module, names: Sequence[str], image: Tensor) -> list[tuple[str, Tensor]]:
    """What each named module gives at each call, and in the end the answer under the name ""."""
    noted: list[tuple[str, Tensor]] = []

    def note(name: str) -> Any:
        return lambda module, inputs, output: noted.extend((name, x.clone()) for x in tensors_of(output))

    handles = [network.get_submodule(name).register_forward_hook(note(name)) for name in names]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            answer = network(image.clone())
    finally:
        for handle in handles:
            handle.remove()
    if unknown := _unknown(answer):
        raise NotConvertible(
            f"the answer of {type(network).__name__} holds a {unknown}, which cannot be looked into: make it give "
            "tensors, in tuples, lists and mappings"
        )
    if next(tensors_of(answer), None) is None:
        raise NotConvertible(f"{type(network).__name__} gives no tensor, so that nothing can be compared")
    return [*noted, *(("", x) for x in tensors_of(answer))]


def _unknown(answer: Any) -> str:
    """Name of the first type in an answer that may hold tensors out of sight; empty where there is none."""
    if isinstance(answer, Mapping | Sequence) and not isinstance(answer, str):
        parts = answer.values() if isinstance(answer, Mapping) else answer
        return next((name for name in map(_unknown, parts) if name), "")
    is_known = answer is None or isinstance(answer, (Tensor, Number, str, torch.dtype, torch.device))
    return "" if is_known else type(answer).__name__


def _first_difference(
    before: list[list[tuple[str, Tensor]]], after: list[list[tuple[str, Tensor]]], sites: Mapping[str, Site]
) -> tuple[str, str]:
    """Name of the first layer that gives something else, and in words what; two empty ones where none does."""
    for wanted, given in zip(before, after, strict=True):
        kept = [(name, x) for name, x in wanted if not name or name in sites]
        if [(name, x.shape) for name, x in kept] != [(name, x.shape) for name, x in given]:
            return "", "other layers run, or give other shapes"
        for (name, a), (_, b) in zip(kept, given, strict=True):
            if (off := difference(a, b)) > TOLERANCE.get(a.dtype, TOLERANCE[torch.float32]):
                what = "folded it" if name else "its answer"
                return name, f"{what} differs by {off:.1e} of its largest value"
    return "", ""


def _not_running(before: nn.Module, sites: Mapping[str, Site], images: list[Tensor]) -> str:
    """The first site without which the network does not run; empty where there is none."""
    for name, site in sites.items():
        after = copy.deepcopy(before)
        absorb(after, [site])
        try:
            _outputs(after, [], images[0])
        except FAULTS:
            return name
    return ""


def _change(network: nn.Module, site: Site) -> Change:
    old = f"{type(network.get_submodule(site.norm)).__name__} after {', '.join(site.convs)}"
    kept = [network.get_submodule(name) for name in site.kept]
    acts = [type(module).__name__ for module in kept if not isinstance(module, nn.Identity)]
    return Change(
        site.norm, old, f"in the weights of {', '.join(site.convs)}" + (f", then {', '.join(acts)}" if acts else "")
    )
