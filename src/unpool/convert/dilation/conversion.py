"""Strides to dilations: the same network with the same weights, whose maps are on a finer grid.

Chen et al. 2015 (arXiv:1412.7062, "hole algorithm") and Yu & Koltun 2016 (arXiv:1511.07122), for any network whose
operations `torch.fx` can follow. At the positions of the old map the new one has the same values; between them it has
those that the old network computes for a shifted image ("shift and stitch", Sermanet et al. 2014, arXiv:1312.6229),
except that padding, and what is computed from all of a map at once, stay those of the image as it is. Unlike libraries
that only set `dilation`, both networks are run and compared: operation by operation at two sizes of image, then as a
whole at sizes with every remainder that the coarsest stride leaves. A network that differs is refused.
"""

import copy
import logging
from functools import partial
from typing import Any

from torch import Tensor, fx, nn

from unpool.convert.dilation.proof import first_difference, run_proofs
from unpool.convert.dilation.rewriter import DilationRewriter, apply_settings
from unpool.convert.dilation.rule_table import dilate_node
from unpool.errors import NotConvertible
from unpool.tracing.foreign import isolated
from unpool.tracing.graph import copy_on_same_tensors, refuse_other_outputs, trace, why_other_images_may_differ
from unpool.tracing.outputs import outputs_of
from unpool.tracing.probes import check_network, copy_in_float64, fill_zeros, noise, probe_images
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import Rewritten
from unpool.types import Backbone

# (H, W): even and odd at every stride up to 32, and for networks that take no odd ones
PROBES = ((64, 96), (97, 131), (160, 128))
_log = logging.getLogger(__name__)
ROUNDS = 4  # of graphs, each of which follows the network at one more size


class Dilated(Rewritten):
    """A network whose coarsest map is finer than before; parameters and buffers keep their names.

    Attributes:
        channels, strides: of the maps, where the network before is a backbone; else empty.
        compared_at: (H, W) of the images on which the two networks were compared.
    """

    @property
    def channels(self) -> tuple[int, ...]:
        return self.meta["channels"]

    @property
    def strides(self) -> tuple[int, ...]:
        return self.meta["strides"]

    @property
    def compared_at(self) -> tuple[tuple[int, int], ...]:
        return self.meta["compared_at"]


def dilate(network: nn.Module, *, output_stride: int, image: Tensor | None = None) -> Dilated:
    """Returns a copy of a network in which dilations replace the strides beyond `output_stride`.

    Args:
        network: takes one image (B, C, H, W); it is not changed.
        output_stride: pixels of the image between neighbours of the coarsest map; it must divide the strides above it.
        image: (B, C, H, W) of the size on which the two networks are compared first, for those that take none of 64x96,
            97x131, 160x128; its values are not used.

    Returns:
        The network in the mode of the given one. Each of its maps holds the old map at every s-th position from the
        first on, s being the old stride over the new one, within 1e-5 of the largest value. Attention and averages over
        parts of a map are those of the old map, each value repeated for the positions up to the next.

    Raises:
        NotConvertible: a layer has no exact counterpart, the result depends on the size of the image in another way, or
            the network cannot be followed; the message names the layer.

    >>> import torch
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1))
    >>> dilated = dilate(network, output_stride=1)
    >>> dilated(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 8, 32, 32])
    >>> [(change.layer, change.new) for change in dilated.changes]
    [('0', 'stride 1, dilation 1, padding 1'), ('1', 'stride 1, dilation 2, padding 2')]
    """
    check_network(network, image)
    return _dilate(network, output_stride, image, is_known=False)


def dilate_known(network: nn.Module, *, output_stride: int, image: Tensor) -> Dilated:
    """As `dilate`, compared at the size of `image` alone: for networks of which tests have shown that all sizes agree.

    >>> import torch
    >>> dilate_known(nn.Conv2d(3, 8, 3, stride=2), output_stride=1, image=torch.zeros(1, 3, 33, 65)).compared_at
    ((33, 65),)
    """
    return _dilate(network, output_stride, image, is_known=True)


def _dilate(network: nn.Module, output_stride: int, image: Tensor | None, *, is_known: bool) -> Dilated:
    if isinstance(output_stride, bool) or not isinstance(output_stride, int) or output_stride < 1:
        raise NotConvertible(f"output_stride is {output_stride!r}; it must be a whole number of at least 1")
    before = copy_in_float64(network)
    fill_zeros(before)
    with isolated():
        first = None if image is None else noise(image.shape[1:])
        rewriter, sizes = _rewrite_until_equal(before, first, output_stride, is_known=is_known)
        caution = "" if is_known else why_other_images_may_differ(before)
    if caution:
        _log.warning("dilated, and compared up to %dx%d; %s, so that others may differ", *max(sizes), caution)
    result = copy.deepcopy(network)
    apply_settings(result, rewriter.settings)
    for name, module in rewriter.added.items():
        result.add_module(name, module.train(result.training))
    properties: dict[str, Any] = {
        "changes": tuple(rewriter.changes),
        "channels": (),
        "strides": (),
        "compared_at": tuple(sizes),
        "caution": caution,
    }
    if isinstance(network, Backbone):
        properties["channels"] = network.channels
        properties["strides"] = tuple(min(s, output_stride) for s in network.strides)
    return Dilated(result, rewriter.graph, properties)


def _rewrite_until_equal(
    before: nn.Module, image: Tensor | None, output_stride: int, *, is_known: bool
) -> tuple[DilationRewriter, list[tuple[int, int]]]:
    """The rewriter of a graph that equals the network at every size tried, and these sizes.

    The last of them is for the proof alone: no graph is made on it. A known network needs no proof.
    """
    images = probe_images(before, image, sizes=PROBES)
    graph, proofs, most = trace(before), [], len(images) + ROUNDS - 1
    while True:
        rewriter, tree = _rewrite(graph, before, images, output_stride)
        if not (proofs or is_known):
            proofs = list(run_proofs(before, images, rewriter.coarsest_stride()))
        difference = first_difference(fx.GraphModule(tree, rewriter.graph), proofs, rewriter.output_layouts)
        if difference is None:
            tried = [*images, *(proof.image for proof in proofs)]
            return rewriter, list(dict.fromkeys((x.shape[2], x.shape[3]) for x in tried))
        if difference.image is proofs[-1].image or len(images) == most:
            height, width = difference.image.shape[2:]
            raise NotConvertible(
                f"{type(before).__name__} cannot be dilated to stride {output_stride}: at {height}x{width} "
                f"{difference.how}. It depends on the size of the image in a way that cannot be followed: give the "
                "part of it that does not"
            )
        images = [*images, difference.image]  # so that the next graph holds there too, or the layer is named


def _rewrite(
    graph: fx.GraphModule, before: nn.Module, images: list[Tensor], output_stride: int
) -> tuple[DilationRewriter, nn.Module]:
    """The rewriter of a graph that equals the network on these images, operation by operation, and its modules."""
    tree = copy_on_same_tensors(before)
    rewriter = DilationRewriter(graph, tree, images, output_stride)
    rewriter.follow(partial(dilate_node, rewriter))
    outputs = [part for part in outputs_of(before, images[0]) if isinstance(part, Tensor)]
    refuse_other_outputs(before, outputs, list(tensors_of(rewriter.old(rewriter.output_node()))))
    for name, module in rewriter.added.items():
        tree.add_module(name, module)
    return rewriter, tree
