"""Rules for operations that add or leave out rows and columns: padding that is no part of a layer, and `x[...]`."""

import operator
from typing import Any

from torch import Tensor, fx, nn

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.map_rules import keep_operation
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout, Pair
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
    if any(isinstance(p, fx.Node) for p in pads):
        rewriter.refuse(node, "its padding is computed from the size of the map: write the padding as numbers")
    x, dims = rewriter.new_node(input_node(node)), rewriter.old(input_node(node)).dim()
    step = {axis % dims: grid for axis, grid in zip(layout.axes, layout.grid, strict=True)}
    scaled = tuple(p * step.get(dims - 1 - i // 2, 1) for i, p in enumerate(pads))
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
    steps = [index[axis] for axis in layout.axes]
    if any(not isinstance(step, slice) for step in steps):
        rewriter.refuse(node, "it picks single rows or columns: slice with a range, or choose a larger output stride")
    if all(step == slice(None) for step in steps):
        return keep_operation(rewriter, node)
    return _slice_finer(rewriter, node, layout, index)


def _slice_finer(rewriter: DilationRewriter, node: fx.Node, layout: MapLayout, index: list[Any]) -> MapLayout:
    stride, grid, old = list(layout.stride), list(layout.grid), []
    new = [rewriter.map_arguments(item) for item in index]
    for i, axis in enumerate(layout.axes):
        entry = index[axis]
        jump = 1 if entry.step is None else entry.step
        kept = rewriter.kept_step(node, jump, layout.stride[i], layout.grid[i])
        start, stop = (_scale_end(rewriter, end, layout.grid[i]) for end in (entry.start, entry.stop))
        new[axis] = slice(start, stop, None if kept == 1 else kept)
        stride[i], grid[i] = layout.stride[i] * jump, layout.grid[i] * jump // kept
        old.append(entry)
    rewriter.put(node, rewriter.call(operator.getitem, rewriter.new_node(input_node(node)), tuple(new)))
    axes = _axes_after(layout.axes, index)
    rewriter.note_change(node, _describe(old), _describe([new[axis] for axis in layout.axes]))
    return MapLayout(axes, (stride[0], stride[1]), (grid[0], grid[1]))


def _scale_end(rewriter: DilationRewriter, end: Any, grid: int) -> Any:
    """Returns a start or end on the finer grid; one computed from the size of a finer map is on that grid already."""
    if isinstance(end, fx.Node):
        new = rewriter.new_node(end)
        return rewriter.call(operator.mul, new, grid) if grid > 1 and rewriter.is_unchanged(end) else new
    return end * grid if isinstance(end, int) else end


def _axes_after(axes: Pair, index: list[Any]) -> Pair:
    """The axes of rows and columns after axes with an integer index are gone."""
    gone = [i for i, item in enumerate(index) if not isinstance(item, slice)]
    rows, columns = (axis - sum(i < axis for i in gone) for axis in axes)
    return rows, columns


def _describe(slices: list[Any]) -> str:
    parts = (["" if end is None else str(end) for end in (s.start, s.stop, s.step)] for s in slices)
    return f"[{', '.join(map(':'.join, parts))}]"
