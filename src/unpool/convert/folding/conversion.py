"""Batch norms folded into the convolutions before them, so that one operation does the work of two.

In evaluation a batch norm (Ioffe and Szegedy 2015, arXiv:1502.03167) is a scale and a shift per channel, which the
weights and the bias of the layer before it can hold: W' = s W and b' = s b + t, where s = weight / sqrt(variance + eps)
and t = bias - s mean. Nothing is read from the network's code: it runs, every operation that reads a convolution is
recorded, and afterwards each folded layer and the output are compared with those before.

Compared are all norms and the whole output on two images in float64 (float32 where the code asks for that), and the
output in the network's own precision. Not compared are branches that no such image takes, by its size or its values
(the result names the first module that has one), what a second call returns after a first, and what hooks of
convolutions keep outside of the network, which from now on is the output of the norm.
"""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from unpool.convert.folding.comparison import find_inexact, require_same_outputs
from unpool.convert.folding.copies import comparable_copies
from unpool.convert.folding.flow import Flow, observe
from unpool.convert.folding.weights import Site, find_overflowing, fold_sites, folded_weights, has_hooks
from unpool.errors import NotConvertible
from unpool.tracing.foreign import foreign_code, isolated
from unpool.tracing.graph import why_other_images_may_differ
from unpool.tracing.probes import check_network, copy_network
from unpool.tracing.rewriter import Change


class Left(NamedTuple):
    """A batch norm that was not folded, and why."""

    layer: str
    reason: str


class Folded(NamedTuple):
    """A network without the batch norms that could be folded.

    Attributes:
        network: in evaluation mode; the layers before folded norms have a bias, the norms are `nn.Identity`, or the
            activation that their module holds.
        changes: which norm was folded into which layers, in the order in which they run.
        left: the norms that were not folded.
        compared_at: shapes of the images on which the networks were compared.
        caution: why images of other sizes or values may run operations that were not compared; empty where all run the
            same.
    """

    network: nn.Module
    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    compared_at: tuple[tuple[int, ...], ...] = ()
    caution: str = ""

    def __str__(self) -> str:
        count = len(self.changes) + len(self.left)
        if not count:
            return (
                "nothing was folded: the network has no batch norm, neither a call of torch.nn.functional.batch_norm "
                "nor a module with running_mean and running_var"
            )
        left = "; ".join(f"{layer or 'the network itself'} stays: {reason}" for layer, reason in self.left)
        done = f"{len(self.changes)} of {count} batch norms were folded" if self.changes else "no batch norm was folded"
        compared = " and ".join("x".join(map(str, shape)) for shape in self.compared_at)
        caution = f"compared on images of {compared} alone, others may run what was not compared: {self.caution}"
        return "; ".join([done, *([left] if left else []), *([caution] if self.caution else [])])


def fold_batch_norm(network: nn.Module, *, image: Tensor | None = None) -> Folded:
    """Returns a copy of a network whose batch norms are folded into the convolutions and linear layers before them.

    Args:
        network: takes one image (B, C, H, W), or whatever `image` is; neither it nor its mode is changed.
        image: what the two networks are compared on, for those that take none of 64x96, 224x224 and a few others.

    Returns:
        The network in evaluation mode, with dtype and device of the given one. Its outputs are those of the given
        network in evaluation mode, within 1e-9 of the largest value in float64; trained further, it has no batch norm.
        Norms that follow no convolution, share it with another reader or have no running statistics are in `left`,
        each with the reason.

    Raises:
        NotConvertible: the network cannot be run or copied, or its output differs and no norm can be named for it.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> folded = fold_batch_norm(network)
    >>> print(folded)
    1 of 1 batch norms were folded
    >>> folded.network[1]
    Identity()
    """
    check_network(network, image)
    with foreign_code(passing=NotConvertible) as failure, isolated():
        return _fold(network, image)
    kind = type(failure.error).__name__
    raise NotConvertible(
        f"{type(network).__name__} cannot be folded: its code ends in {kind}: {failure}"
    ) from failure.error


def _fold(network: nn.Module, image: Tensor | None) -> Folded:
    make, before, images = comparable_copies(network, image)
    sites, left = _plan(network, observe(before, images))
    weights = folded_weights(network, sites.values())
    left |= find_overflowing(network, sites.values(), weights)
    rest = {name: site for name, site in sites.items() if name not in left}
    left |= find_inexact(before, make, rest, weights, images)
    sites = {name: site for name, site in sites.items() if name not in left}
    result = fold_sites(copy_network(network), sites.values(), weights)
    if sites:
        require_same_outputs(network, result, list(sites), images[0].float() if image is None else image)
    changes = tuple(_change(network, site) for site in sites.values())
    return Folded(
        result,
        changes,
        tuple(Left(*item) for item in left.items()),
        compared_at=tuple(tuple(x.shape) for x in images),
        caution=why_other_images_may_differ(before),
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
    names = {name for name, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))}
    return isinstance(module, _BatchNorm) or {"running_mean", "running_var"} <= names


def _obstacle(network: nn.Module, flow: Flow, norm: str) -> str:
    """Why a norm cannot be folded into what it reads; empty where it can."""
    calls, sources = flow.norms[norm], sorted(flow.sources[norm])
    call = next(iter(calls))
    if not call.is_fixed:
        return "it has no running statistics and normalises by the batch"
    if len(calls) > 1 or not call.is_known:
        return "its statistics, weights or eps are not those of one layer"
    if not norm:
        return "it is not a module inside of the network"
    if has_hooks(network.get_submodule(norm)):
        return "it has hooks, which would be lost"
    return next(filter(None, (_unfit(network, flow, norm, conv) for conv in sources)), "")


def _unfit(network: nn.Module, flow: Flow, norm: str, conv: str) -> str:
    """Why a norm cannot be folded into one of the layers that it reads; empty where it can."""
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
