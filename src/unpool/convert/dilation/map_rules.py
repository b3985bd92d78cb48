"""Rules for what has no window: operations that let a grid pass, that read all of a map, or that make it finer."""

from typing import Any

from torch import Tensor, fx, nn

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.rewriter import Map, Pair, Rewriting
from unpool.tracing import arguments
from unpool.tracing.recorder import tensors_of


def passed_on(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """The same operation; right where each position is computed by itself, which the comparison then shows."""
    maps = [found for used, found in rewriting.input_maps(node) if isinstance(rewriting.value(used), Tensor)]
    if len({found.grid for found in maps}) > 1:
        rewriting.refuse(node, "it joins maps of different grids")
    aligned = rewriting.aligned(node)
    rewriting.copy_with(node, aligned)
    return _place(rewriting, node)


def _place(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Where the output lies, from its sizes and those of the maps that went in."""
    if next(tensors_of(rewriting.value(node)), None) is None:
        return None
    maps = list(rewriting.input_maps(node))
    for used, found in maps:
        axes = _same_sizes(rewriting, node, rewriting.sizes(used, found.axes), found.axes)
        if axes is not None:
            return found._replace(axes=axes)
    if not maps:
        return rewriting.known_place(node)
    used, found = maps[0]
    if found.is_dense or next(tensors_of(rewriting.value(node))).dim() != next(tensors_of(rewriting.value(used))).dim():
        return None
    return _reduced_by(rewriting, node, used, found)


def _same_sizes(rewriting: Rewriting, node: fx.Node, sizes: list[Pair], axes: Pair) -> Pair | None:
    dims = next(tensors_of(rewriting.value(node))).dim()
    pairs = [axes, *((i, i + 1) for i in reversed(range(dims - 1)))]
    return next((pair for pair in pairs if max(pair) < dims and rewriting.sizes(node, pair) == sizes), None)


def _reduced_by(rewriting: Rewriting, node: fx.Node, used: fx.Node, found: Map) -> Map | None:
    """The place of a map that an operation without a rule made smaller, before anything was dilated."""
    stride = stride_after(rewriting, node, used, found)
    if rewriting.sizes(node, found.axes) == [(1, 1)] * len(rewriting.images):
        return None
    if max(stride) > rewriting.output_stride:
        rewriting.refuse(node, "it makes the map smaller in a way that has no dilation")
    return found._replace(stride=stride)


def stride_after(rewriting: Rewriting, node: fx.Node, used: fx.Node, found: Map) -> Pair:
    """Stride of the output, as the sizes before and after say."""
    before, after = rewriting.sizes(used, found.axes)[-1], rewriting.sizes(node, found.axes)[-1]
    rows, columns = (max(1, round(s * a / b)) for s, a, b in zip(found.stride, before, after, strict=True))
    return rows, columns


def subsampled(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """The same operation on the positions that the network before has; what comes out is no map."""
    dense = {used: rewriting.subsampled(used) for used, found in rewriting.input_maps(node)}
    rewriting.copy_with(node, dense)
    for _, found in rewriting.input_maps(node):
        if found.is_dense:
            rewriting.change(node, "of all positions", f"of every {found.grid[0]}x{found.grid[1]}th position")
    return None


def flattened(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Several axes made one."""
    x, module = arguments.first(node), rewriting.module(node)
    form = arguments.flatten
    given = arguments.given(form, node) if module is None else arguments.of_module(form, module)
    dims = rewriting.value(x).dim()
    start, end = given["start_dim"] % dims, given["end_dim"] % dims
    found = rewriting.maps[x]
    inside = found is not None and any(start <= axis <= end for axis in found.axes)
    return subsampled(rewriting, node) if inside else passed_on(rewriting, node)


def reduced(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """A mean, sum, maximum or norm along some axes."""
    found = next((found for _, found in rewriting.input_maps(node)), None)
    if found is None or not isinstance(rewriting.value(node.all_input_nodes[0]), Tensor):
        return passed_on(rewriting, node)
    dims = _dims(node, rewriting.value(node.all_input_nodes[0]).dim())
    inside = [axis for axis in found.axes if axis in dims]
    if not inside:
        return passed_on(rewriting, node)
    if len(inside) == 1 and found.is_dense:
        rewriting.refuse(node, "it reads one axis of the map as a whole")
    return subsampled(rewriting, node)


def _dims(node: fx.Node, count: int) -> set[int]:
    """The axes that a reduction removes, all where it names none."""
    given = node.kwargs.get("dim", node.kwargs.get("axis"))
    if given is None:
        rest = [value for value in node.args[1:] if isinstance(value, int | tuple | list)]
        given = rest[0] if rest else None
    if given is None:
        return set(range(count))
    listed = given if isinstance(given, tuple | list) else (given,)
    return {int(axis) % count for axis in listed}  # pyright: ignore[reportArgumentType]


def permuted(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Axes in another order."""
    return _reordered(rewriting, node, list(_listed(node.args[1:] or [node.kwargs["dims"]])))


def transposed(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Two axes exchanged."""
    order = list(range(rewriting.value(arguments.first(node)).dim()))
    a, b = _listed((*node.args[1:], *(node.kwargs[key] for key in ("dim0", "dim1") if key in node.kwargs)))
    order[a], order[b] = order[b], order[a]
    return _reordered(rewriting, node, order)


def _reordered(rewriting: Rewriting, node: fx.Node, order: list[int]) -> Map | None:
    found = rewriting.maps[arguments.first(node)]
    rewriting.copy(node)
    if found is None:
        return None
    order = [axis % len(order) for axis in order]
    return found._replace(axes=(order.index(found.axes[0]), order.index(found.axes[1])))


def _listed(given: Any) -> tuple[int, ...]:
    """Axes that may be given one by one or as one tuple."""
    return tuple(given[0]) if isinstance(given[0], tuple | list) else tuple(given)


def resized(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Upsampling: from the positions that the network before has where the map that it makes needs no dilation."""
    used = node.all_input_nodes[0]
    found = rewriting.maps[used]
    if found is None:
        return passed_on(rewriting, node)
    stride = stride_after(rewriting, node, used, found)
    if max(stride) > rewriting.output_stride and found.is_dense:
        return _resized_by_shift(rewriting, node, found, stride)
    rewriting.copy_with(node, {used: rewriting.subsampled(used)})
    return Map(found.axes, stride, (1, 1))


def _resized_by_shift(rewriting: Rewriting, node: fx.Node, found: Map, stride: Pair) -> Map:
    """Upsampling to a map that is dilated itself, as where branches of several strides exchange what they have."""
    used = node.all_input_nodes[0]
    rows, columns = (s * g / old for s, g, old in zip(stride, found.grid, found.stride, strict=True))
    if not (rows.is_integer() and columns.is_integer()):
        rewriting.refuse(node, f"it goes to stride {max(stride)}, which the map has no whole number of shifts for")
    grid = (int(rows), int(columns))
    replaced = {used: rewriting.call(grid_operations.shifts, rewriting.new(used), found.grid, grid)}
    for size in node.all_input_nodes[1:]:
        if not rewriting.is_unchanged(size):
            replaced[size] = rewriting.call(grid_operations.places, rewriting.new(size), grid)
    rewriting.copy_with(node, replaced)
    rewriting.put(node, rewriting.call(grid_operations.stitched, rewriting.new(node), grid))
    rewriting.change(node, "of all positions", f"of each of {grid[0]}x{grid[1]} shifts by itself")
    return Map(found.axes, stride, grid)


def dropout(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Dropout called as a function; it becomes a module, which knows whether the network trains."""
    given = arguments.given(arguments.dropout, node)
    name = f"dropout_{node.name}"
    rewriting.add(name, nn.Dropout(given["p"]))
    x = arguments.first(node)
    rewriting.put(node, rewriting.emit("call_module", name, (rewriting.new(x),)))
    return rewriting.maps[x]


def group_norm_module(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Group norm of a module."""
    module: Any = rewriting.module(node)
    path = str(node.target)
    own = {key: f"{path}.{key}" for key, _ in module.named_parameters(recurse=False)}
    return _group_norm(rewriting, node, module.num_groups, own.get("weight"), own.get("bias"), module.eps)


def group_norm_function(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Group norm called as a function."""
    given = arguments.given(arguments.group_norm, node)
    return _group_norm(rewriting, node, given["num_groups"], given["weight"], given["bias"], given["eps"])


def _group_norm(rewriting: Rewriting, node: fx.Node, groups: int, *rest: Any) -> Map | None:
    """Its statistics are taken where the network before has positions."""
    used = arguments.first(node)
    found = rewriting.maps[used]
    if found is None or not found.is_dense:
        return passed_on(rewriting, node)
    weight, bias = (rewriting.emit("get_attr", p, ()) if isinstance(p, str) else rewriting.new(p) for p in rest[:2])
    x = rewriting.new(used)
    new = rewriting.call(grid_operations.group_norm, x, weight, bias, groups=groups, eps=rest[2], steps=found.grid)
    rewriting.put(node, new)
    rewriting.change(node, "of all positions", f"of every {found.grid[0]}x{found.grid[1]}th position")
    return found
