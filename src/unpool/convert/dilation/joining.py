"""Brings the tensors that one operation reads to one size on the finer grid."""

from torch import Tensor, fx

from unpool.convert.dilation.grid_operations import crop_like, repeat_between
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout
from unpool.convert.dilation.strides import Pair


def joined(rewriter: DilationRewriter, node: fx.Node) -> dict[fx.Node, fx.Node]:
    """New nodes for the tensors that `node` reads.

    Dense maps are cropped to one size where borders made them differ. Beside them, others of the old map's size are
    repeated: each value stands for the positions up to the next.

    Raises:
        NotConvertible: its maps are on several grids.
    """
    tensors = [used for used in node.all_input_nodes if isinstance(rewriter.old(used), Tensor)]
    dense = {used: x for used in tensors if (x := rewriter.layouts[used]) is not None and x.is_dense}
    if len({layout.grid for layout in dense.values()}) > 1:
        rewriter.refuse(node, "it joins maps of different grids")
    result = {used: rewriter.new_node(used) for used in tensors}
    for used, layout in dense.items():
        for other, like in dense.items():
            if _is_longer(rewriter, result[used], result[other], list(zip(layout.axes, like.axes, strict=True))):
                result[used] = rewriter.call(crop_like, result[used], result[other], layout.axes, like.axes)
    if dense:
        one, layout = next(iter(dense.items()))
        for used in tensors:
            if used not in dense and (axes := _axes_of_map(rewriter, used, one, layout)):
                result[used] = rewriter.call(repeat_between, result[used], result[one], *zip(*axes, strict=True))
    return result


def _is_longer(rewriter: DilationRewriter, one: fx.Node, other: fx.Node, axes: list[Pair]) -> bool:
    """Whether a map is longer than another of several positions, along one of `axes`: its own and the other's."""
    pairs = zip(rewriter.new_values[one], rewriter.new_values[other], strict=True)
    return any(a.shape[i] > b.shape[j] > 1 for a, b in pairs for i, j in axes)


def _axes_of_map(rewriter: DilationRewriter, used: fx.Node, dense: fx.Node, layout: MapLayout) -> list[Pair]:
    """Axes along which a tensor is as long as the old map, counted from the end, each with the map's grid."""
    pairs = list(zip(rewriter.old_values[used], rewriter.old_values[dense], strict=True))
    axes = [axis - rewriter.old(dense).dim() for axis in layout.axes]
    return [
        (axis, grid)
        for axis, grid in zip(axes, layout.grid, strict=True)
        if grid > 1
        and all(x.dim() >= -axis and x.shape[axis] == like.shape[axis] for x, like in pairs)
        and any(x.shape[axis] > 1 for x, _ in pairs)
    ]
