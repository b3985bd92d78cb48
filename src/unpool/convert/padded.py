"""Rules for padding that stands by itself."""

from typing import Any

from torch import fx, nn

from unpool.convert import arguments, on_grid
from unpool.convert.rewriting import Map, Rewriting


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
        new = rewriting.call(on_grid.pad_border, x, (top, left), (bottom, right), mode, found.grid)
    rewriting.put(node, new)
    rewriting.change(node, f"padding {tuple(pads)}", f"padding {scaled}")
    return found
