"""Rules for sizes: a dilated network computes with those of the old maps, at every size of image.

Whatever Python makes of them (ends of slices, paddings, sizes to resize to) is then the same number in both networks,
and only the rules of the operations that use it know of the finer grid.
"""

import operator
from typing import Any

from torch import fx

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.map_rules import axes_after, keep_operation, of_every
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout


def attribute(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts `x.shape` as that of the old map, and any other attribute as it is."""
    return _size(rewriter, node, ()) if node.args[1] == "shape" else keep_operation(rewriter, node)


def size(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts `x.size()` or `x.size(axis)` as that of the old map."""
    return _size(rewriter, node, (*node.args[1:], *node.kwargs.values()))


def _size(rewriter: DilationRewriter, node: fx.Node, axis: tuple[Any, ...]) -> MapLayout | None:
    used: Any = node.args[0]
    layout = rewriter.layouts[used]
    if layout is None or not layout.is_dense:
        return keep_operation(rewriter, node)
    shape = rewriter.call(grid_operations.coarse_shape, rewriter.new_node(used), layout.axes, layout.grid)
    rewriter.put(node, rewriter.call(operator.getitem, shape, *axis) if axis else shape)
    return None


def view(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts `view`, `reshape` or `expand` with the rows and columns of the finer map, and returns its layout.

    On the positions of the old map alone where rows and columns are no axes of the result, which is then no map.
    """
    used = node.all_input_nodes[0]
    layout = rewriter.layouts[used]
    if layout is None or not layout.is_dense or node.args[0] is not used:
        return keep_operation(rewriter, node)
    axes = axes_after(rewriter, node, used, layout)
    target = "reshape" if node.target == "view" else node.target  # a map of every n-th position cannot be viewed
    sizes = _sizes(rewriter, node)
    if axes is None:
        rewriter.put(node, rewriter.emit(node.op, target, (rewriter.subsampled(used), tuple(sizes))))
        rewriter.note_change(node, "of all positions", of_every(layout))
        return None
    x = rewriter.new_node(used)
    for axis, before in zip(axes, layout.axes, strict=True):
        if sizes[axis] != -1:
            sizes[axis] = rewriter.call(operator.getitem, rewriter.call(getattr, x, "shape"), before)
    rewriter.put(node, rewriter.emit(node.op, target, (x, tuple(sizes))))
    return layout._replace(axes=axes)


def _sizes(rewriter: DilationRewriter, node: fx.Node) -> list[Any]:
    """The sizes that a call has one by one, as one tuple, or as a node that computes all of them."""
    sizes = rewriter.map_arguments((*node.args[1:], *node.kwargs.values()))
    if len(sizes) == 1 and not isinstance(sizes[0], int):
        sizes = sizes[0]
    if isinstance(sizes, fx.Node):
        return [rewriter.call(operator.getitem, sizes, i) for i in range(rewriter.old(node).dim())]
    return list(sizes)
