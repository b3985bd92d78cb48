"""Rules for operations without a kernel: those that keep a grid, that read all of a map, or that make it finer."""

from typing import Any, NoReturn

from torch import Tensor, fx

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.joining import joined
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout
from unpool.convert.dilation.strides import Pair
from unpool.tracing.arguments import FLATTEN, GROUP_NORM, input_node, read_arguments
from unpool.tracing.recorder import tensors_of

NO_DILATION = (
    "it makes the map smaller in a way that has no dilation: use a convolution or pooling whose stride is a number, or "
    "choose an output stride of at least {stride}"
)
ONE_SIZE = (
    "it goes from {before} to {after} positions, of which either may be a fixed number and no part of the image's, "
    "and one size of image does not tell: leave image= out, or give an image of another size"
)


def keep_operation(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the same operation, and returns its layout, found from sizes; None if its output is no map.

    It is exact where the operation computes each position by itself, which the comparison in `finish` checks.
    """
    rewriter.copy(node, joined(rewriter, node))
    return _layout_from_sizes(rewriter, node)


def _layout_from_sizes(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """The layout of an output, found by comparing its sizes with those of the input maps."""
    if next(tensors_of(rewriter.old(node)), None) is None:
        return None
    maps = sorted(rewriter.input_maps(node), key=lambda one: not one[1].is_dense)
    for used, layout in maps:
        axes = axes_after(rewriter, node, used, layout)
        if axes is not None:
            return layout._replace(axes=axes)
    if not maps:
        return None
    used, layout = maps[0]
    if layout.is_dense or next(tensors_of(rewriter.old(node))).dim() != next(tensors_of(rewriter.old(used))).dim():
        return None
    return _layout_of_smaller_map(rewriter, node, used, layout)


def axes_after(rewriter: DilationRewriter, node: fx.Node, used: fx.Node, layout: MapLayout) -> Pair | None:
    """Axes of a result that are as long as rows and columns of the map `used`; None where none are."""
    dims, sizes = next(tensors_of(rewriter.old(node))).dim(), rewriter.old_sizes(used, layout.axes)
    pairs = [layout.axes, *((i, i + 1) for i in reversed(range(dims - 1)))]
    return next((pair for pair in pairs if max(pair) < dims and rewriter.old_sizes(node, pair) == sizes), None)


def _layout_of_smaller_map(
    rewriter: DilationRewriter, node: fx.Node, used: fx.Node, layout: MapLayout
) -> MapLayout | None:
    """The layout of a map that an operation without a rule made smaller, while nothing is dilated yet."""
    stride = rewriter.stride_after(node, used, layout)
    if stride is None or rewriter.old_sizes(node, layout.axes) == [(1, 1)] * len(rewriter.old_values[node]):
        return None
    if max(stride) > rewriter.output_stride:
        _refuse_smaller_map(rewriter, node, used, layout, stride)
    return layout._replace(stride=stride)


def _refuse_smaller_map(
    rewriter: DilationRewriter, node: fx.Node, used: fx.Node, layout: MapLayout, stride: Pair
) -> NoReturn:
    sizes = [rewriter.old_sizes(one, layout.axes) for one in (used, node)]
    if len(sizes[0]) == 1:
        before, after = (f"{rows}x{columns}" for ((rows, columns),) in sizes)
        rewriter.refuse(node, ONE_SIZE.format(before=before, after=after))
    rewriter.refuse(node, NO_DILATION.format(stride=max(stride)))


def subsample(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the operation on the positions of the old map alone; returns None, since its output is no map."""
    rewriter.copy(node, {used: rewriter.subsampled(used) for used, _ in rewriter.input_maps(node)})
    for _, layout in rewriter.input_maps(node):
        if layout.is_dense:
            rewriter.note_change(node, "of all positions", of_every(layout))
    return None


def of_every(layout: MapLayout) -> str:
    return f"of every {layout.grid[0]}x{layout.grid[1]}th position"


def flatten(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts a flattening: as `subsample` if rows or columns are among the axes made one, else as `keep_operation`."""
    x = input_node(node)
    arguments = read_arguments(FLATTEN, node, rewriter.module(node))
    dims = rewriter.old(x).dim()
    start, end = arguments["start_dim"] % dims, arguments["end_dim"] % dims
    layout = rewriter.layouts[x]
    inside = layout is not None and any(start <= axis <= end for axis in layout.axes)
    return subsample(rewriter, node) if inside else keep_operation(rewriter, node)


def reduce(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts a mean, sum, maximum or norm: as `subsample` if it is over rows or columns, else as `keep_operation`."""
    layout = next((layout for _, layout in rewriter.input_maps(node)), None)
    if layout is None or not isinstance(rewriter.old(node.all_input_nodes[0]), Tensor):
        return keep_operation(rewriter, node)
    dims = _reduced_axes(node, rewriter.old(node.all_input_nodes[0]).dim())
    inside = [axis for axis in layout.axes if axis in dims]
    if not inside:
        return keep_operation(rewriter, node)
    return subsample(rewriter, node)


def _reduced_axes(node: fx.Node, count: int) -> set[int]:
    """The axes that a reduction removes: all `count` where it names none."""
    dims = node.kwargs.get("dim", node.kwargs.get("axis"))
    if dims is None:
        rest = [value for value in node.args[1:] if isinstance(value, int | tuple | list)]
        dims = rest[0] if rest else None
    if dims is None:
        return set(range(count))
    listed = dims if isinstance(dims, tuple | list) else (dims,)
    return {int(axis) % count for axis in listed}  # pyright: ignore[reportArgumentType]


def permute(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the permutation; returns the layout with rows and columns on their new axes."""
    return _reorder(rewriter, node, list(_listed(node.args[1:] or [node.kwargs["dims"]])))


def transpose(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the transposition; returns the layout with rows and columns on their new axes."""
    order = list(range(rewriter.old(input_node(node)).dim()))
    a, b = _listed((*node.args[1:], *(node.kwargs[key] for key in ("dim0", "dim1") if key in node.kwargs)))
    order[a], order[b] = order[b], order[a]
    return _reorder(rewriter, node, order)


def _reorder(rewriter: DilationRewriter, node: fx.Node, order: list[int]) -> MapLayout | None:
    layout = rewriter.layouts[input_node(node)]
    rewriter.copy(node)
    if layout is None:
        return None
    order = [axis % len(order) for axis in order]
    return layout._replace(axes=(order.index(layout.axes[0]), order.index(layout.axes[1])))


def _listed(axes: Any) -> tuple[int, ...]:
    """Axes that a call has one by one or as one tuple."""
    return tuple(axes[0]) if isinstance(axes[0], tuple | list) else tuple(axes)


def resize(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the upsampling of the positions of the old map, and returns its layout.

    Where the larger map needs a finer grid too, puts that of each shift of the old map, joined.
    """
    used = node.all_input_nodes[0]
    layout = rewriter.layouts[used]
    if layout is None:
        return keep_operation(rewriter, node)
    stride = rewriter.stride_after(node, used, layout)
    if stride is not None and max(stride) > rewriter.output_stride:
        if layout.is_dense and all(after <= before for after, before in zip(stride, layout.stride, strict=True)):
            return _resize_shifts(rewriter, node, layout, stride)
        _refuse_smaller_map(rewriter, node, used, layout, stride)
    rewriter.copy(node, {used: rewriter.subsampled(used)})
    return None if stride is None else MapLayout(layout.axes, stride, (1, 1))


def _resize_shifts(rewriter: DilationRewriter, node: fx.Node, layout: MapLayout, stride: Pair) -> MapLayout:
    """Upsamples to a map that is itself dilated, as where branches of several strides exchange their maps."""
    used = node.all_input_nodes[0]
    rows, columns = (s * g / old for s, g, old in zip(stride, layout.grid, layout.stride, strict=True))
    if not (rows.is_integer() and columns.is_integer()):
        rewriter.refuse(node, f"it goes to stride {max(stride)}, which the map has no whole number of shifts for")
    grid = (int(rows), int(columns))
    shifts = rewriter.call(grid_operations.split_shifts, rewriter.new_node(used), layout.grid, grid)
    shifts = rewriter.emit_copy(node, {used: shifts})
    rewriter.put(node, rewriter.call(grid_operations.join_shifts, shifts, grid))
    rewriter.note_change(node, "of all positions", f"of each of {grid[0]}x{grid[1]} shifts by itself")
    return MapLayout(layout.axes, stride, grid)


def dropout(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts an `nn.Dropout` for a call of the function; returns the layout of its input."""
    rewriter.put(node, rewriter.call_dropout(node))
    return rewriter.layouts[input_node(node)]


def group_norm_module(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts a group norm by the statistics of the positions of the old map; returns the layout of its input."""
    module: Any = rewriter.module(node)
    path = str(node.target)
    names = {key: f"{path}.{key}" for key, _ in module.named_parameters(recurse=False)}
    return _group_norm(rewriter, node, module.num_groups, names.get("weight"), names.get("bias"), module.eps)


def group_norm_function(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the same as `group_norm_module` for a call of the function."""
    arguments = read_arguments(GROUP_NORM, node)
    names = ("num_groups", "weight", "bias", "eps")
    return _group_norm(rewriter, node, *(arguments[name] for name in names))


def _group_norm(rewriter: DilationRewriter, node: fx.Node, groups: int, *rest: Any) -> MapLayout | None:
    """Normalises by the statistics of the positions that the old map has."""
    used = input_node(node)
    layout = rewriter.layouts[used]
    if layout is None or not layout.is_dense:
        return keep_operation(rewriter, node)
    weight, bias = (
        rewriter.emit("get_attr", p, ()) if isinstance(p, str) else rewriter.map_arguments(p) for p in rest[:2]
    )
    x = rewriter.new_node(used)
    new = rewriter.call(grid_operations.group_norm, x, weight, bias, groups=groups, eps=rest[2], steps=layout.grid)
    rewriter.put(node, new)
    rewriter.note_change(node, "of all positions", of_every(layout))
    return layout
