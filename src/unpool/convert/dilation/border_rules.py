"""Rules for operations that add or leave out rows and columns: padding that is no part of a layer, and `x[...]`."""

import operator
from typing import Any

from torch import Tensor, fx, nn

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.map_rules import keep_operation
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout
from unpool.convert.dilation.strides import Pair
from unpool.tracing.arguments import PAD, full_index, input_node, read_arguments


def pad_module(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the module's padding with its widths multiplied by the grid; returns the layout of the result.

    None if the input is no map. Where nothing is dilated yet, puts the module as it is.
    """
    module: Any = rewriter.module(node)
    mode = {"Reflection": "reflect", "Replication": "replicate"}.get(
        type(module).__name__.partition("Pad")[0], "constant"
    )
    return _pad(rewriter, node, tuple(module.padding), mode=mode, value=vars(module).get("value", 0.0))


def pad_function(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the call of `pad` with its widths multiplied by the grid; returns the layout of the result.

    None if the input is no map. Where nothing is dilated yet, puts the call as it is.
    """
    arguments = read_arguments(PAD, node)
    return _pad(rewriter, node, arguments["pad"], mode=arguments["mode"], value=arguments["value"] or 0.0)


def _pad(rewriter: DilationRewriter, node: fx.Node, pads: Any, *, mode: str, value: float) -> MapLayout | None:
    layout = rewriter.layouts[input_node(node)]
    if layout is None or not layout.is_dense:
        rewriter.copy(node)
        return layout
    x, dims = rewriter.new_node(input_node(node)), rewriter.old(input_node(node)).dim()
    step = {axis % dims: grid for axis, grid in zip(layout.axes, layout.grid, strict=True)}
    pads = rewriter.map_arguments(tuple(pads))
    scaled = tuple(_scale(rewriter, p, step.get(dims - 1 - i // 2, 1)) for i, p in enumerate(pads))
    if mode == "constant":
        new = rewriter.call(nn.functional.pad, x, scaled, "constant", value)
    else:
        left, right, top, bottom = pads
        new = rewriter.call(grid_operations.pad_border, x, (top, left), (bottom, right), mode, layout.grid)
    rewriter.put(node, new)
    rewriter.note_change(node, f"padding {tuple(pads)}", f"padding {scaled}")
    return layout


def slice_map(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts a slice with its start and end multiplied by the grid, and its step cut to what the output stride allows.

    Returns the layout of the result. An index that leaves rows and columns whole, or of no map, is put as it is.
    """
    used = node.all_input_nodes[0]
    layout = rewriter.layouts[used]
    if layout is None or not isinstance(rewriter.old(used), Tensor) or node.args[0] is not used:
        return keep_operation(rewriter, node)
    dims = rewriter.old(used).dim()
    index = full_index(node.args[1], dims)
    if any(item is None for item in index) or len(index) != dims:
        return keep_operation(rewriter, node)
    entries = [index[axis] for axis in layout.axes]
    if all(entry == slice(None) for entry in entries):
        return keep_operation(rewriter, node)
    if any(not isinstance(entry, slice) for entry in entries):
        return _keep_if_coarse(rewriter, node, layout)
    if any(1 in size for size in rewriter.old_sizes(node, _axes_left(layout.axes, index))):
        return _keep_if_coarse(rewriter, node, layout)
    return _slice_finer(rewriter, node, layout, index)


def _keep_if_coarse(rewriter: DilationRewriter, node: fx.Node, layout: MapLayout) -> MapLayout | None:
    if layout.is_dense:
        rewriter.refuse(node, "it picks single rows or columns: slice with a range, or choose a larger output stride")
    return keep_operation(rewriter, node)


def _slice_finer(rewriter: DilationRewriter, node: fx.Node, layout: MapLayout, index: list[Any]) -> MapLayout:
    stride, grid, old = list(layout.stride), list(layout.grid), []
    new = [rewriter.map_arguments(item) for item in index]
    for i, axis in enumerate(layout.axes):
        entry = index[axis]
        jump = 1 if entry.step is None else entry.step
        kept = rewriter.kept_step(node, jump, layout.stride[i], layout.grid[i])
        ends = (new[axis].start, new[axis].stop)
        start, stop = (None if end is None else _scale(rewriter, end, layout.grid[i]) for end in ends)
        new[axis] = slice(start, stop, None if kept == 1 else kept)
        stride[i], grid[i] = layout.stride[i] * jump, layout.grid[i] * jump // kept
        old.append(entry)
    rewriter.put(node, rewriter.call(operator.getitem, rewriter.new_node(input_node(node)), tuple(new)))
    axes = _axes_left(layout.axes, index)
    rewriter.note_change(node, _describe(old), _describe([new[axis] for axis in layout.axes]))
    return MapLayout(axes, (stride[0], stride[1]), (grid[0], grid[1]))


def _scale(rewriter: DilationRewriter, number: Any, grid: int) -> Any:
    """A count of positions of the old map, or a node that computes one, in positions of the finer grid."""
    if isinstance(number, fx.Node):
        return rewriter.call(operator.mul, number, grid) if grid > 1 else number
    return number * grid


def _axes_left(axes: Pair, index: list[Any]) -> Pair:
    """The axes of rows and columns after axes with an integer index are gone."""
    gone = [i for i, item in enumerate(index) if not isinstance(item, slice)]
    rows, columns = (axis - sum(i < axis for i in gone) for axis in axes)
    return rows, columns


def _describe(slices: list[Any]) -> str:
    parts = (map(_describe_end, (s.start, s.stop, s.step)) for s in slices)
    return f"[{', '.join(map(':'.join, parts))}]"


def _describe_end(end: Any) -> str:
    return "" if end is None else "computed" if isinstance(end, fx.Node) else str(end)
