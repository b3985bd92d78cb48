"""Strides to dilations: the same network with the same weights, whose maps are on a finer grid.

Chen et al. 2015 (arXiv:1412.7062, "hole algorithm") and Yu & Koltun 2016 (arXiv:1511.07122), for any network whose
operations `torch.fx` can follow. At the positions of the old map the new one has the same values; between them it has
those that the old network computes for a shifted image ("shift and stitch", Sermanet et al. 2014, arXiv:1312.6229),
except that padding and global averages stay those of the image as it is. Unlike libraries that only set `dilation`,
both networks are run and compared operation by operation, and a network that differs is refused.
"""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unpool.convert.dilation.rewriter import DilationRewriter, apply_settings
from unpool.convert.dilation.rule_table import dilate_node
from unpool.errors import NotConvertible
from unpool.tracing.graph import refuse_other_outputs, trace
from unpool.tracing.probes import copy_in_float64, fill_zeros, probe_images
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import Rewritten
from unpool.types import Backbone

# (H, W): even and odd at every stride up to 32, and for networks that take no odd ones
PROBES = ((64, 96), (97, 131), (160, 128))


class Dilated(Rewritten):
    """A network whose coarsest map is finer than before; parameters and buffers keep their names.

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
    """Returns a copy of a network in which dilations replace the strides beyond `output_stride`.

    Args:
        network: takes one image (B, C, H, W); it is not changed.
        output_stride: pixels of the image between neighbours of the coarsest map; it must divide the strides above it.
        image: what the two networks are compared on, for those that take none of 64x96, 97x131, 160x128.

    Returns:
        The network in the mode of the given one. Each of its maps holds the old map at every s-th position from the
        first on, s being the old stride over the new one, within 1e-5 of the largest value.

    Raises:
        NotConvertible: a layer has no exact counterpart, or the network cannot be followed; the message names it.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    >>> dilated = dilate(network, output_stride=1)
    >>> dilated(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 8, 32, 32])
    >>> [(change.layer, change.new) for change in dilated.changes]
    [('0', 'stride 1, dilation 1, padding 1'), ('1', 'stride 1, dilation 2, padding 2')]
    """
    if isinstance(output_stride, bool) or not isinstance(output_stride, int) or output_stride < 1:
        raise NotConvertible(f"output_stride is {output_stride!r}; it must be a whole number of at least 1")
    before = copy_in_float64(network)
    fill_zeros(before)
    images, tree = probe_images(before, image, sizes=PROBES), _copy_on_same_tensors(before)
    rewriter = DilationRewriter(trace(before), tree, images, output_stride)
    rewriter.follow(partial(dilate_node, rewriter))
    with torch.no_grad():
        outputs = list(tensors_of(before(images[0].clone())))
    refuse_other_outputs(before, outputs, list(tensors_of(rewriter.old(rewriter.output_node()))))
    result = copy.deepcopy(network)
    apply_settings(result, rewriter.settings)
    for name, module in rewriter.added.items():
        result.add_module(name, module.train(result.training))
    properties: dict[str, Any] = {"changes": tuple(rewriter.changes), "channels": (), "strides": ()}
    if isinstance(network, Backbone):
        properties["channels"] = network.channels
        properties["strides"] = tuple(min(s, output_stride) for s in network.strides)
    return Dilated(result, rewriter.graph, properties)


def _copy_on_same_tensors(network: nn.Module) -> nn.Module:
    """A copy whose modules can be changed, with the same parameters and buffers."""
    return copy.deepcopy(network, {id(x): x for x in (*network.parameters(), *network.buffers())})
