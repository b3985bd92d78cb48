"""Rules for what adds or leaves out rows and columns: padding that stands by itself, and `x[...]`."""

import operator
from typing import Any

from torch import Tensor, fx, nn

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.map_rules import passed_on
from unpool.convert.dilation.rewriter import Map, Pair, Rewriting
from unpool.tracing import arguments


def pad_module(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Padding of a module."""
    module: Any = rewriting.module(node)
    mode = {"Reflection": "reflect", "Replication": "replicate"}.get(
        type(module).__name__.partition("Pad")[0], "constant"
    )
    return _pad(rewriting, node, tuple(module.padding), mode=mode, value=vars(module).get("value", 0.0))


def pad_function(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Padding called as a function."""
    given = arguments.given(arguments.pad, node)
    return _pad(rewriting, node, given["pad"], mode=given["mode"], value=given["value"] or 0.0)


def _pad(rewriting: Rewriting, node: fx.Node, pads: Any, *, mode: str, value: float) -> Map | None:
    found = rewriting.maps[arguments.first(node)]
    if found is None or not found.is_dense:
        rewriting.copy(node)
        return found
    if any(isinstance(p, fx.Node) for p in pads):
        rewriting.refuse(node, "its padding is computed from the size of the map")
    x, dims = rewriting.new(arguments.first(node)), rewriting.value(arguments.first(node)).dim()
    step = {axis % dims: grid for axis, grid in zip(found.axes, found.grid, strict=True)}
    scaled = tuple(p * step.get(dims - 1 - i // 2, 1) for i, p in enumerate(pads))
    if mode == "constant":
        new = rewriting.call(nn.functional.pad, x, scaled, "constant", value)
    else:
        left, right, top, bottom = pads
        new = rewriting.call(grid_operations.pad_border, x, (top, left), (bottom, right), mode, found.grid)
    rewriting.put(node, new)
    rewriting.change(node, f"padding {tuple(pads)}", f"padding {scaled}")
    return found


def sliced(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Steps become finer, starts and ends move with the grid."""
    used = node.all_input_nodes[0]
    found = rewriting.maps[used]
    if found is None or not isinstance(rewriting.value(used), Tensor) or node.args[0] is not used:
        return passed_on(rewriting, node)
    dims = rewriting.value(used).dim()
    index = _full(node.args[1], dims)
    if any(item is None for item in index) or len(index) != dims:
        return passed_on(rewriting, node)
    steps = [index[axis] for axis in found.axes]
    if any(not isinstance(step, slice) for step in steps):
        rewriting.refuse(node, "it picks single rows or columns")
    if all(step == slice(None) for step in steps):
        return passed_on(rewriting, node)
    return _resliced(rewriting, node, found, index)


def _full(index: Any, dims: int) -> list[Any]:
    """One entry for each axis."""
    listed = list(index) if isinstance(index, tuple) else [index]
    if any(item is Ellipsis for item in listed):
        place = next(i for i, item in enumerate(listed) if item is Ellipsis)
        listed[place : place + 1] = [slice(None)] * (dims - len(listed) + 1)
    return listed + [slice(None)] * (dims - len(listed))


def _resliced(rewriting: Rewriting, node: fx.Node, found: Map, index: list[Any]) -> Map:
    stride, grid, old = list(found.stride), list(found.grid), []
    new = [rewriting.new(item) for item in index]
    for i, axis in enumerate(found.axes):
        given = index[axis]
        jump = 1 if given.step is None else given.step
        kept = rewriting.kept_step(node, jump, found.stride[i], found.grid[i])
        start, stop = (_moved(rewriting, end, found.grid[i]) for end in (given.start, given.stop))
        new[axis] = slice(start, stop, None if kept == 1 else kept)
        stride[i], grid[i] = found.stride[i] * jump, found.grid[i] * jump // kept
        old.append(given)
    rewriting.put(node, rewriting.call(operator.getitem, rewriting.new(arguments.first(node)), tuple(new)))
    axes = _axes_after(found.axes, index)
    rewriting.change(node, _told(old), _told([new[axis] for axis in found.axes]))
    return Map(axes, (stride[0], stride[1]), (grid[0], grid[1]))


def _moved(rewriting: Rewriting, end: Any, grid: int) -> Any:
    """A start or end on the finer grid; a computed one may come from sizes that are finer themselves."""
    if isinstance(end, fx.Node):
        new = rewriting.new(end)
        return rewriting.call(operator.mul, new, grid) if grid > 1 and rewriting.is_unchanged(end) else new
    return end * grid if isinstance(end, int) else end


def _axes_after(axes: Pair, index: list[Any]) -> Pair:
    """Axes that are picked from vanish."""
    lost = [i for i, item in enumerate(index) if not isinstance(item, slice)]
    rows, columns = (axis - sum(i < axis for i in lost) for axis in axes)
    return rows, columns


def _told(slices: list[Any]) -> str:
    parts = ("" if end is None else str(end) for s in slices for end in (s.start, s.stop, s.step))
    start, stop, step, start_2, stop_2, step_2 = parts
    return f"[{start}:{stop}:{step}, {start_2}:{stop_2}:{step_2}]"
