"""Strides turned into dilations: the same network, its weights included, on a finer grid.

Chen et al. 2015 (arXiv:1412.7062, "hole algorithm") and Yu & Koltun 2016 (arXiv:1511.07122), for any network whose
operations `torch.fx` can follow. Where the network before has a position, the new one computes the same numbers;
between them it gives what the network before would give for a shifted image ("shift and stitch", Sermanet et al. 2014,
arXiv:1312.6229), padding and global averages aside: those stay where they were. Unlike libraries that only set
`dilation`, nothing is assumed: both networks are run, compared operation by operation, and refused where they differ.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unpool.convert.dilation.rewriter import Rewriting, apply_settings
from unpool.convert.dilation.rule_table import rule
from unpool.errors import NotConvertible
from unpool.tracing.graph import trace
from unpool.tracing.outputs import TOLERANCE, difference
from unpool.tracing.probes import fill_zeros, in_float64, probe_images
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import Rewritten
from unpool.types import Backbone

# (H, W): even and odd at every stride up to 32, and for networks that take no odd ones
PROBES = ((64, 96), (97, 131), (160, 128))


class Dilated(Rewritten):
    """A network whose coarsest map is finer than it was; parameters and buffers have the names they had.

    Attributes:
        channels, strides: of the maps, where the network before is a backbone; else empty.
    """

    @property
    def channels(self) -> tuple[int, ...]:
        return self.meta["channels"]

    @property
    def strides(self) -> tuple[int, ...]:
        return self.meta["strides"]


def dilate(network: nn.Module, *, output_stride: int, image: Tensor | None = None) -> Dilated:
    """A copy of the network whose coarsest map has stride `output_stride`.

    Args:
        network: takes one image (B, C, H, W); it is left as it is.
        output_stride: pixels of the image between neighbours of the coarsest map; it divides the strides above it.
        image: what the two networks are compared on, for those that take none of 64x96, 97x131, 160x128.

    Returns:
        The network in the mode that the given one is in. Each of its maps holds that of the network before at every
        s-th position from the first on, s being the old stride over the new one, within 1e-5 of the largest value.

    Raises:
        NotConvertible: a layer has no exact counterpart, or the network cannot be followed; the message names it.
    """
    if isinstance(output_stride, bool) or not isinstance(output_stride, int) or output_stride < 1:
        raise NotConvertible(f"output_stride is {output_stride!r}; it must be a whole number of at least 1")
    before = in_float64(network)
    fill_zeros(before)
    images, tree = probe_images(before, image, sizes=PROBES), _with_the_same_values(before)
    rewriting = Rewriting(trace(before), tree, images, output_stride)
    rewriting.follow(rule)
    _refuse_other_answer(before, images[0], rewriting.answer)
    result = copy.deepcopy(network)
    apply_settings(result, rewriting.settings)
    for name, module in rewriting.added.items():
        result.add_module(name, module.train(result.training))
    told = {"changes": tuple(rewriting.changes), "channels": (), "strides": ()}
    if isinstance(network, Backbone):
        told |= {"channels": network.channels, "strides": tuple(min(s, output_stride) for s in network.strides)}
    return Dilated(result, rewriting.graph, told)


def _with_the_same_values(network: nn.Module) -> nn.Module:
    """A copy whose modules can be set anew, on the same parameters and buffers."""
    return copy.deepcopy(network, {id(x): x for x in (*network.parameters(), *network.buffers())})


def _refuse_other_answer(network: nn.Module, image: Tensor, answer: Any) -> None:
    """Hooks and state that Python keeps between calls are not in a graph."""
    with torch.no_grad():
        own, followed = list(tensors_of(network(image.clone()))), list(tensors_of(answer))
    if len(own) != len(followed) or any(
        a.shape != b.shape or difference(a, b) > TOLERANCE for a, b in zip(own, followed, strict=True)
    ):
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: its operations alone give another answer than it gives, as "
            "where hooks collect maps; give a network whose forward returns them"
        )
