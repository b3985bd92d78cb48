"""Rules for convolutions, poolings, padding and slices: they stay the same, and each refuses what it cannot slide."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import fx

from unpool.convert.sliding import head_rules, window_averages
from unpool.convert.sliding.map_layout import WindowLayout
from unpool.convert.sliding.rewriter import SlidingRewriter
from unpool.tracing.arguments import (
    AVG_POOL2D,
    CONV2D,
    MAX_POOL2D,
    PAD,
    full_index,
    input_node,
    pair,
    read_arguments,
    read_pool_arguments,
)
from unpool.tracing.outputs import TOLERANCE, strict_difference

COMPUTED = (
    "its kernel, stride or padding is computed from the size of the map: write it as the numbers that it is for the "
    "classifier's input size"
)


def conv(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    _slide_kernel(rewriter, node, layout, vars(rewriter.module(node)))


def conv_function(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    arguments = read_arguments(CONV2D, node)
    if arguments["input"] is not input_node(node) or len(rewriter.map_inputs(node)) != 1:
        rewriter.refuse(node, "its weights are computed from the image")
    if not {arguments[name] for name in ("input", "weight", "bias")}.issuperset(node.all_input_nodes):
        rewriter.refuse(node, COMPUTED)
    kernel = tuple(rewriter.new(rewriter.new_node(arguments["weight"])).shape[-2:])
    _slide_kernel(rewriter, node, layout, {**arguments, "kernel_size": kernel})


def max_pool(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    arguments = read_pool_arguments(MAX_POOL2D, node, rewriter.module(node))
    if arguments["return_indices"]:
        rewriter.refuse(node, "it returns the indices of its maxima")
    if not _pool_by_size(rewriter, node, layout):
        _slide_kernel(rewriter, node, layout, arguments)


def average_pool(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    arguments = read_pool_arguments(AVG_POOL2D, node, rewriter.module(node))
    is_whole = window_averages.pool_window(rewriter, node, layout, rewriter.expected(node))
    if not is_whole and not _pool_by_size(rewriter, node, layout):
        _slide_kernel(rewriter, node, layout, arguments)


def _pool_by_size(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> bool:
    """Whether a pooling has numbers computed from the size of the map; then puts what it does to a window.

    Raises:
        NotConvertible: it neither covers all of the window nor leaves it as it is.
    """
    if node.all_input_nodes == [input_node(node)]:
        return False
    expected = rewriter.expected(node)
    if window_averages.equals(expected, rewriter.windows(input_node(node))):
        rewriter.put(node, rewriter.new_node(input_node(node)), layout)
    elif not window_averages.pool_window(rewriter, node, layout, expected):
        rewriter.refuse(node, COMPUTED)
    return True


def _slide_kernel(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, arguments: Mapping[str, Any]) -> None:
    """Keeps a convolution or pooling, and compares it where it does not read beyond the window."""
    if layout.is_flat or layout.squeezed or layout.is_joined or layout.axes != (2, 3) or layout.spacing != (1, 1):
        rewriter.refuse(node, "it reads no map of rows and columns that lie side by side")
    kernel, stride, dilation = (pair(arguments.get(key, 1)) for key in ("kernel_size", "stride", "dilation"))
    padding = arguments["padding"]
    if isinstance(padding, str):
        same = [d * (k - 1) // 2 if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        padding = (same[0], same[1])
    after = layout.through_kernel(kernel, stride=stride, dilation=dilation, padding=pair(padding))
    _keep_inside(rewriter, node, layout, after)


def _keep_inside(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, after: WindowLayout) -> None:
    """Keeps an operation whose output for the first window is the classifier's, except at its lower right border."""
    if layout.averaged_to is not None:
        rewriter.refuse(node, window_averages.AVERAGED)
    x, new = rewriter.new_node(input_node(node)), rewriter.emit_copy(node)
    shape = rewriter.old(node).shape[-2:]
    first = rewriter.new(x)[:, :, : layout.size[0], : layout.size[1]]
    expected = rewriter.expected_for(node, first)
    clear = []
    for axis in (0, 1):
        last = (layout.size[axis] - 1) * layout.stride[axis] + layout.high[axis]
        clear.append(max(0, min(shape[axis], (last - after.high[axis]) // after.stride[axis] + 1)))
    a, b = (y[:, :, : clear[0], : clear[1]] for y in (expected, rewriter.new(new)))
    if a.shape != b.shape or (a.numel() and strict_difference(a, b) > TOLERANCE):
        rewriter.refuse(node, "it pads or steps by the size of the map, so that a larger image moves its windows")
    rewriter.put(node, new, replace(after, size=(shape[0], shape[1])))


def _pad(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, pads: Any) -> None:
    if layout.is_flat or not _is_map(rewriter, node, layout) or pads[:4] == (0,) * len(pads[:4]):
        head_rules.keep_operation(rewriter, node, layout)
        return
    if any(isinstance(p, fx.Node) for p in pads) or layout.axes != (2, 3) or layout.spacing != (1, 1):
        rewriter.refuse(node, "its padding is computed from the size of the map, or not that of rows and columns")
    left, right, top, bottom = (*pads, 0, 0)[:4]
    dropped = (max(0, -bottom), max(0, -right))
    _keep_inside(rewriter, node, layout, layout.through_kernel((1, 1), padding=(top, left), dropped=dropped))


def _is_map(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> bool:
    """Whether the input is (B, C, H, W) or (B, H, W, C)."""
    return rewriter.windows(input_node(node)).dim() == 4 and layout.axes in ((2, 3), (1, 2))


def pad_module(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    _pad(rewriter, node, layout, tuple(vars(rewriter.module(node))["padding"]))


def pad_function(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    _pad(rewriter, node, layout, tuple(read_arguments(PAD, node)["pad"]))


def slice_map(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    """Keeps a slice of every n-th row and column, which is a kernel of one position; one of channels is compared."""
    index: Any = full_index(node.args[1], 4)
    is_whole = not (layout.is_flat or layout.squeezed or layout.is_joined) and layout.axes == (2, 3) and len(index) == 4
    if not is_whole or not all(isinstance(i, slice) for i in index) or index[2:] == [slice(None)] * 2:
        head_rules.keep_operation(rewriter, node, layout)
        return
    steps, starts = ([(i.step or 1) for i in index[2:]], [(i.start or 0) for i in index[2:]])
    ends = [i.stop for i in index[2:] if i.stop is not None]
    if not all(isinstance(n, int) for n in (*steps, *starts, *ends)) or min(starts) < 0 or max(ends, default=-1) >= 0:
        rewriter.refuse(node, "it crops the map by numbers that depend on its size")
    bottom, right = (-(i.stop or 0) for i in index[2:])
    padding, stride = (-starts[0], -starts[1]), (steps[0], steps[1])
    after = layout.through_kernel((1, 1), stride=stride, padding=padding, dropped=(bottom, right))
    _keep_inside(rewriter, node, layout, after)
