"""Rules for convolutions and poolings."""

from collections.abc import Callable, Mapping
from inspect import Signature
from typing import Any

import torch
from torch import fx, nn

from unpool.convert.dilation import grid_operations, map_rules
from unpool.convert.dilation.kernel_axis import KernelAxis
from unpool.convert.dilation.rewriter import DilationRewriter, MapLayout, Settings
from unpool.convert.dilation.strides import Pair
from unpool.tracing.arguments import (
    AVG_POOL2D,
    CONV2D,
    MAX_POOL2D,
    input_node,
    pair,
    read_arguments,
    read_pool_arguments,
)

Axes = list[KernelAxis]  # rows, columns
COMPUTED = (
    "its kernel, stride or padding is computed from the size of the map and has no dilation: choose an output stride "
    "of at least {stride}, which leaves this map as it is"
)
AT_ONCE = (
    "it strides over a map that was computed from all of another at once, as by attention, and stays at stride "
    "{stride}: choose an output stride of at least that"
)
NO_STRIDE = (
    "it strides over {rows}x{columns} positions that follow the size of the image in no whole ratio, as averages to a "
    "fixed size do: use a layer without stride here"
)
# classes of timm that pad as TensorFlow does, by the size of the image
TENSORFLOW = {
    "timm.layers.conv2d_same.Conv2dSame",
    "timm.layers.std_conv.StdConv2dSame",
    "timm.layers.std_conv.ScaledStdConv2dSame",
    "timm.layers.pool2d_same.AvgPool2dSame",
    "timm.layers.pool2d_same.MaxPool2dSame",
}


def conv(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Sets stride, dilation and padding of the module for the finer grid, puts its call, and returns its layout.

    None, with the call as it is, if the input is no map.
    """
    module: Any = rewriter.module(node)
    layout = _input_layout(rewriter, node, module.stride)
    axes = _kernel_axes(rewriter, node, layout, vars(module)) if layout is not None else []
    if layout is None or all(axis.is_unchanged for axis in axes):
        rewriter.put(node, rewriter.call_convolution(node, rewriter.new_node(input_node(node)), Settings({})))
        return None if layout is None else _layout_after(layout, axes)
    x, padding = _pad_input(rewriter, node, axes, module)
    step, dilation = _pair_of(axes, "step"), _pair_of(axes, "new_dilation")
    settings = {"stride": step, "dilation": dilation, "padding": padding, "padding_mode": "zeros"}
    pads_itself = axes[0].same and "same_pad" in vars(module)
    if pads_itself:
        settings["same_pad"] = False
    new = rewriter.call_convolution(node, x, Settings(settings, is_plain=axes[0].same and not pads_itself))
    return _finish(rewriter, node, new, layout, axes)


def conv_function(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts the call with stride, dilation and padding for the finer grid, and returns its layout.

    None, with the call as it is, if the input is no map.
    """
    arguments = read_arguments(CONV2D, node)
    layout = _input_layout(rewriter, node, arguments["stride"])
    if layout is None:
        rewriter.copy(node)
        return None
    if not {arguments[name] for name in ("input", "weight", "bias")}.issuperset(node.all_input_nodes):
        return _keep_computed(rewriter, node)
    kernel = rewriter.old(arguments["weight"]).shape[-2:]
    axes = _kernel_axes(rewriter, node, layout, {**arguments, "kernel_size": tuple(kernel)})
    if all(axis.is_unchanged for axis in axes):
        rewriter.copy(node)
        return _layout_after(layout, axes)
    x, padding = _pad_input(rewriter, node, axes, None)
    weight, bias = rewriter.map_arguments(arguments["weight"]), rewriter.map_arguments(arguments["bias"])
    step, dilation = _pair_of(axes, "step"), _pair_of(axes, "new_dilation")
    new = rewriter.call(nn.functional.conv2d, x, weight, bias, step, padding, dilation, arguments["groups"])
    return _finish(rewriter, node, new, layout, axes)


def max_pool(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts a max pooling with stride, dilation and padding for the finer grid, and returns its layout.

    None, with the operation as it is, if the input is no map. The old one may be a module or a function.
    """
    return _pool(rewriter, node, MAX_POOL2D, _call_max_pool)


def average_pool(rewriter: DilationRewriter, node: fx.Node) -> MapLayout | None:
    """Puts an average pooling with stride, dilation and padding for the finer grid, and returns its layout.

    None, with the operation as it is, if the input is no map. The old one may be a module or a function.
    """
    return _pool(rewriter, node, AVG_POOL2D, _call_average_pool)


def _pool(
    rewriter: DilationRewriter, node: fx.Node, signature: Signature, call: Callable[..., fx.Node]
) -> MapLayout | None:
    arguments = read_pool_arguments(signature, node, rewriter.module(node))
    if node.all_input_nodes != [input_node(node)]:
        return _keep_computed(rewriter, node)
    layout = _input_layout(rewriter, node, arguments["stride"])
    if layout is None:
        rewriter.copy(node)
        return None
    axes = _kernel_axes(rewriter, node, layout, arguments)
    if all(axis.is_unchanged for axis in axes):
        rewriter.copy(node)
        return _layout_after(layout, axes)
    if arguments.get("return_indices"):
        rewriter.refuse(node, "it returns the indices of its maxima, which name pixels of another grid")
    return _finish(rewriter, node, call(rewriter, node, axes, arguments), layout, axes)


def _keep_computed(rewriter: DilationRewriter, node: fx.Node) -> None:
    """Keeps an operation whose kernel, stride or padding follows the size of the map, as where it covers all of it.

    Raises:
        NotConvertible: its map is on a finer grid, and it reads parts of that.
    """
    layout = rewriter.layouts[input_node(node)]
    if layout is not None and layout.is_dense and any(max(size) > 1 for size in rewriter.old_sizes(node, (-2, -1))):
        rewriter.refuse(node, COMPUTED.format(stride=max(layout.stride)))
    map_rules.subsample(rewriter, node)


def _call_max_pool(rewriter: DilationRewriter, node: fx.Node, axes: Axes, arguments: Mapping[str, Any]) -> fx.Node:
    x, shape = rewriter.new_node(input_node(node)), _shape(axes)
    before, after = _pair_of(axes, "pad_before"), _pair_of(axes, "pad_after")
    if axes[0].same:
        x, before, after = _pad_same(rewriter, x, axes, -torch.inf), (0, 0), (0, 0)
    return rewriter.call(grid_operations.max_pool, x, **shape, before=before, after=after)


def _call_average_pool(rewriter: DilationRewriter, node: fx.Node, axes: Axes, arguments: Mapping[str, Any]) -> fx.Node:
    x, shape = rewriter.new_node(input_node(node)), _shape(axes)
    area = axes[0].kernel * axes[1].kernel
    before, after = _pair_of(axes, "pad_before"), _pair_of(axes, "pad_after")
    if axes[0].same:
        x, before, after = _pad_same(rewriter, x, axes, 0.0), (0, 0), (0, 0)
    unpadded = not any(axis.before or axis.after for axis in axes)
    if arguments["divisor_override"]:
        counted: Any = arguments["divisor_override"]
    elif not any(axis.ceil for axis in axes) and (arguments["count_include_pad"] or unpadded):
        counted = area  # also where a kernel reaches beyond the map: no position of the old map lies there
    elif arguments["count_include_pad"]:
        rows, columns = axes
        counted = (before, (rows.after * rows.grid, columns.after * columns.grid))
    else:
        counted = ((0, 0), (0, 0))
    return rewriter.call(grid_operations.average_pool, x, **shape, before=before, after=after, counted=counted)


def _input_layout(rewriter: DilationRewriter, node: fx.Node, stride: Any) -> MapLayout | None:
    """The layout of the map that a layer reads; None where a layer without stride reads something else."""
    layout = rewriter.layouts[input_node(node)]
    x = rewriter.old(input_node(node))
    if layout is None and max(pair(stride)) > 1 and max(x.shape[-2:]) > 1:
        known = rewriter.stride_of_map(input_node(node), (-2, -1))
        text = AT_ONCE.format(stride=max(known)) if known else NO_STRIDE.format(rows=x.shape[-2], columns=x.shape[-1])
        rewriter.refuse(node, text)
    if layout is not None and tuple(axis % x.dim() for axis in layout.axes) != (x.dim() - 2, x.dim() - 1):
        rewriter.refuse(node, "its rows and columns are not the last axes")
    return layout


def _kernel_axes(rewriter: DilationRewriter, node: fx.Node, layout: MapLayout, arguments: Mapping[str, Any]) -> Axes:
    kernel, stride = pair(arguments["kernel_size"]), pair(arguments["stride"])
    dilation = pair(arguments.get("dilation", 1))
    padding, same = arguments["padding"], _pads_like_tensorflow(rewriter.module(node))
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel, strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in pair(padding)]
    return [
        KernelAxis(
            kernel=kernel[i],
            stride=stride[i],
            dilation=dilation[i],
            before=pads[i][0],
            after=pads[i][1],
            ceil=bool(arguments.get("ceil_mode", False)),
            grid=layout.grid[i],
            step=rewriter.kept_step(node, stride[i], layout.stride[i], layout.grid[i]),
            same=same,
        )
        for i in (0, 1)
    ]


def _pad_input(rewriter: DilationRewriter, node: fx.Node, axes: Axes, module: nn.Module | None) -> tuple[fx.Node, Pair]:
    """The input with the padding that a convolution cannot do itself, and the padding that it does."""
    x = rewriter.new_node(input_node(node))
    before, after = _pair_of(axes, "pad_before"), _pair_of(axes, "pad_after")
    if axes[0].same:
        return _pad_same(rewriter, x, axes, 0.0), (0, 0)
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        rows, columns = axes
        first, last = (rows.before, columns.before), (rows.after, columns.after)
        x = rewriter.call(grid_operations.pad_border, x, first, last, module.padding_mode, (rows.grid, columns.grid))
        rest = (after[0] - rows.after * rows.grid, after[1] - columns.after * columns.grid)
        return (rewriter.call(grid_operations.pad, x, (0, 0), rest) if any(rest) else x), (0, 0)
    if before == after:
        return x, before
    return rewriter.call(grid_operations.pad, x, before, after), (0, 0)


def _pad_same(rewriter: DilationRewriter, x: fx.Node, axes: Axes, value: float) -> fx.Node:
    reach, stride, grid = (_pair_of(axes, name) for name in ("reach", "stride", "grid"))
    return rewriter.call(grid_operations.pad_same, x, reach, stride, grid, value)


def _finish(rewriter: DilationRewriter, node: fx.Node, new: fx.Node, layout: MapLayout, axes: Axes) -> MapLayout:
    """Puts the new node, without positions that only padding made, notes the change and returns the layout."""
    limits = [axis.limit for axis in axes]
    if any(limits):
        new = rewriter.call(grid_operations.keep_positions, new, rewriter.new_node(input_node(node)), *limits)
    rewriter.put(node, new)
    old, new_text = ("stride", "dilation", "before"), ("step", "new_dilation", "pad_before")
    rewriter.note_change(node, _describe(axes, *old), _describe(axes, *new_text))
    return _layout_after(layout, axes)


def _layout_after(layout: MapLayout, axes: Axes) -> MapLayout:
    rows, columns = (s * axis.stride for s, axis in zip(layout.stride, axes, strict=True))
    return MapLayout(layout.axes, (rows, columns), _pair_of(axes, "grid_after"))


def _pair_of(axes: Axes, name: str) -> Pair:
    rows, columns = (getattr(axis, name) for axis in axes)
    return rows, columns


def _shape(axes: Axes) -> dict[str, Pair]:
    names = {"kernel": "kernel", "stride": "step", "dilation": "new_dilation"}
    return {name: _pair_of(axes, of) for name, of in names.items()}


def _pads_like_tensorflow(module: nn.Module | None) -> bool:
    return f"{type(module).__module__}.{type(module).__qualname__}" in TENSORFLOW


def _describe(axes: Axes, stride: str, dilation: str, padding: str) -> str:
    pads = "same" if axes[0].same else _short(_pair_of(axes, padding))
    return f"stride {_short(_pair_of(axes, stride))}, dilation {_short(_pair_of(axes, dilation))}, padding {pads}"


def _short(values: Pair) -> str:
    return str(values[0]) if values[0] == values[1] else f"{values[0]}x{values[1]}"
