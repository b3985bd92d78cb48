"""Rules for convolutions and poolings."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from unpool.convert.dilation import grid_operations
from unpool.convert.dilation.kernel_axis import Window
from unpool.convert.dilation.rewriter import Map, Pair, Rewriting
from unpool.tracing import arguments
from unpool.tracing.arguments import pair

# classes of timm that pad as TensorFlow does, by the size of the image
TENSORFLOW = {
    "timm.layers.conv2d_same.Conv2dSame",
    "timm.layers.std_conv.StdConv2dSame",
    "timm.layers.std_conv.ScaledStdConv2dSame",
    "timm.layers.pool2d_same.AvgPool2dSame",
    "timm.layers.pool2d_same.MaxPool2dSame",
}


def conv(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """A convolution of a module, which is set anew."""
    module = rewriting.tree.get_submodule(str(node.target))
    found = _map_of(rewriting, node, module.stride)
    if found is None:
        rewriting.copy(node)
        return None
    windows = _windows(rewriting, node, found, vars(module))
    if all(w.is_same for w in windows):
        rewriting.set(node, {})
        rewriting.copy(node)
        return _after(found, windows)
    x, padding = _padded_for(rewriting, node, windows, module)
    step, dilation = _pair_of(windows, "step"), _pair_of(windows, "dilation_after")
    settings = {"stride": step, "dilation": dilation, "padding": padding, "padding_mode": "zeros"}
    if windows[0].same:
        settings.update({"same_pad": False} if "same_pad" in vars(module) else {"__class__": nn.Conv2d})
    rewriting.set(node, settings)
    _finish(rewriting, node, rewriting.emit("call_module", node.target, (x,)), windows)
    rewriting.change(node, _told(windows), _told_new(windows))
    return _after(found, windows)


def conv_function(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """A convolution that is called as a function."""
    given = arguments.given(arguments.conv2d, node)
    found = _map_of(rewriting, node, given["stride"])
    if found is None:
        rewriting.copy(node)
        return None
    kernel = rewriting.value(given["weight"]).shape[-2:]
    windows = _windows(rewriting, node, found, {**given, "kernel_size": tuple(kernel)})
    if all(w.is_same for w in windows):
        rewriting.copy(node)
        return _after(found, windows)
    x, padding = _padded_for(rewriting, node, windows, None)
    weight, bias = rewriting.new(given["weight"]), rewriting.new(given["bias"])
    step, dilation = _pair_of(windows, "step"), _pair_of(windows, "dilation_after")
    new = rewriting.call(nn.functional.conv2d, x, weight, bias, step, padding, dilation, given["groups"])
    _finish(rewriting, node, new, windows)
    rewriting.change(node, _told(windows), _told_new(windows))
    return _after(found, windows)


def max_pool(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Max pooling, of a module or called as a function."""
    return _pool(rewriting, node, arguments.max_pool2d, _write_max_pool)


def average_pool(rewriting: Rewriting, node: fx.Node) -> Map | None:
    """Average pooling, of a module or called as a function."""
    return _pool(rewriting, node, arguments.avg_pool2d, _write_average_pool)


def _pool(rewriting: Rewriting, node: fx.Node, form: Callable[..., None], write: Callable[..., fx.Node]) -> Map | None:
    module = rewriting.module(node)
    given = arguments.given(form, node) if module is None else arguments.of_module(form, module)
    given["stride"] = given["kernel_size"] if given["stride"] in (None, [], ()) else given["stride"]
    found = _map_of(rewriting, node, given["stride"])
    if found is None:
        rewriting.copy(node)
        return None
    windows = _windows(rewriting, node, found, given)
    if all(w.is_same for w in windows):
        rewriting.copy(node)
        return _after(found, windows)
    if given.get("return_indices"):
        rewriting.refuse(node, "it gives the places of its maxima, which name pixels of another grid")
    new = write(rewriting, node, windows, given)
    _finish(rewriting, node, new, windows)
    rewriting.change(node, _told(windows), _told_new(windows))
    return _after(found, windows)


def _write_max_pool(rewriting: Rewriting, node: fx.Node, windows: list[Window], given: Mapping[str, Any]) -> fx.Node:
    x, shape = rewriting.new(arguments.first(node)), _shape(windows)
    if windows[0].same:
        x = _padded_same(rewriting, x, windows, -torch.inf)
        return rewriting.call(grid_operations.max_pool, x, **shape, before=(0, 0), after=(0, 0))
    before, after = _pair_of(windows, "pad_before"), _pair_of(windows, "pad_after")
    return rewriting.call(grid_operations.max_pool, x, **shape, before=before, after=after)


def _write_average_pool(
    rewriting: Rewriting, node: fx.Node, windows: list[Window], given: Mapping[str, Any]
) -> fx.Node:
    x, shape = rewriting.new(arguments.first(node)), _shape(windows)
    area = windows[0].kernel * windows[1].kernel
    before, after = _pair_of(windows, "pad_before"), _pair_of(windows, "pad_after")
    if windows[0].same:
        x, before, after = _padded_same(rewriting, x, windows, 0.0), (0, 0), (0, 0)
    unpadded = not any(w.before or w.after for w in windows)
    if given["divisor_override"]:
        counted: Any = given["divisor_override"]
    elif not any(w.ceil for w in windows) and (given["count_include_pad"] or unpadded):
        counted = area  # also where a window reaches beyond the map: no position of the network before lies there
    elif given["count_include_pad"]:
        rows, columns = windows
        counted = (before, (rows.after * rows.grid, columns.after * columns.grid))
    else:
        counted = ((0, 0), (0, 0))
    return rewriting.call(grid_operations.average_pool, x, **shape, before=before, after=after, counted=counted)


def _map_of(rewriting: Rewriting, node: fx.Node, stride: Any) -> Map | None:
    found = rewriting.maps[arguments.first(node)]
    x = rewriting.value(arguments.first(node))
    if found is None and max(pair(stride)) > 1 and max(x.shape[-2:]) > 1:
        rewriting.refuse(node, "it reads no map whose stride is known")
    if found is not None and tuple(axis % x.dim() for axis in found.axes) != (x.dim() - 2, x.dim() - 1):
        rewriting.refuse(node, "its rows and columns are not the last axes")
    return found


def _windows(rewriting: Rewriting, node: fx.Node, found: Map, given: Mapping[str, Any]) -> list[Window]:
    kernel, stride = pair(given["kernel_size"]), pair(given["stride"])
    dilation = pair(given.get("dilation", 1))
    padding, same = given["padding"], _pads_like_tensorflow(rewriting.module(node))
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in pair(padding)]
    return [
        Window(
            kernel=kernel[i],
            stride=stride[i],
            dilation=dilation[i],
            before=pads[i][0],
            after=pads[i][1],
            ceil=bool(given.get("ceil_mode", False)),
            grid=found.grid[i],
            step=rewriting.kept_step(node, stride[i], found.stride[i], found.grid[i]),
            same=same,
        )
        for i in (0, 1)
    ]


def _padded_for(
    rewriting: Rewriting, node: fx.Node, windows: list[Window], module: nn.Module | None
) -> tuple[fx.Node, Pair]:
    """The input with all the padding that the convolution itself cannot do, and what it does."""
    x = rewriting.new(arguments.first(node))
    before, after = _pair_of(windows, "pad_before"), _pair_of(windows, "pad_after")
    if windows[0].same:
        return _padded_same(rewriting, x, windows, 0.0), (0, 0)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        rows, columns = windows
        first, last = (rows.before, columns.before), (rows.after, columns.after)
        x = rewriting.call(grid_operations.pad_border, x, first, last, module.padding_mode, (rows.grid, columns.grid))
        rest = (after[0] - rows.after * rows.grid, after[1] - columns.after * columns.grid)
        return (rewriting.call(grid_operations.pad, x, (0, 0), rest) if any(rest) else x), (0, 0)
    if before == after:
        return x, before
    return rewriting.call(grid_operations.pad, x, before, after), (0, 0)


def _padded_same(rewriting: Rewriting, x: fx.Node, windows: list[Window], value: float) -> fx.Node:
    grid = _pair_of(windows, "grid")
    return rewriting.call(
        grid_operations.pad_same, x, _pair_of(windows, "reach"), _pair_of(windows, "stride"), grid, value
    )


def _finish(rewriting: Rewriting, node: fx.Node, new: fx.Node, windows: list[Window]) -> None:
    cuts = [w.cut for w in windows]
    if any(cuts):
        new = rewriting.call(grid_operations.cut, new, rewriting.new(arguments.first(node)), *cuts)
    rewriting.put(node, new)


def _after(found: Map, windows: list[Window]) -> Map:
    rows, columns = (s * w.stride for s, w in zip(found.stride, windows, strict=True))
    return Map(found.axes, (rows, columns), _pair_of(windows, "grid_after"))


def _pair_of(windows: list[Window], name: str) -> Pair:
    rows, columns = (getattr(window, name) for window in windows)
    return rows, columns


def _shape(windows: list[Window]) -> dict[str, Pair]:
    names = {"kernel": "kernel", "stride": "step", "dilation": "dilation_after"}
    return {name: _pair_of(windows, of) for name, of in names.items()}


def _pads_like_tensorflow(module: nn.Module | None) -> bool:
    return f"{type(module).__module__}.{type(module).__qualname__}" in TENSORFLOW


def _told(windows: list[Window]) -> str:
    padding = "same" if windows[0].same else f"{_short(_pair_of(windows, 'before'))}"
    step, dilation = _pair_of(windows, "stride"), _pair_of(windows, "dilation")
    return f"stride {_short(step)}, dilation {_short(dilation)}, padding {padding}"


def _told_new(windows: list[Window]) -> str:
    padding = "same" if windows[0].same else f"{_short(_pair_of(windows, 'pad_before'))}"
    step, dilation = _pair_of(windows, "step"), _pair_of(windows, "dilation_after")
    return f"stride {_short(step)}, dilation {_short(dilation)}, padding {padding}"


def _short(values: Pair) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]}x{values[1]}"
