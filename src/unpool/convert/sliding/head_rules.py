"""Rules for the end of a classifier: flattening, linear layers, and operations judged by their output."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.map_layout import Pair, WindowLayout
from unpool.convert.sliding.rewriter import SlidingRewriter
from unpool.convert.sliding.window_averages import describe, equals, pool_window
from unpool.tracing.arguments import input_node
from unpool.tracing.foreign import foreign_code

F = nn.functional

FLATTENED = (
    "it reads a flattened map of several positions, which only linear layers and operations on single values can: put "
    "a norm before the flattening, or behind the first linear layer"
)
JOINED = (
    "it reads rows and columns as one axis, of which only averages, maxima and operations on single values slide: "
    "average it first, as x.mean((2, 3))"
)
RESHAPES = ("view", "reshape", "flatten", "squeeze", torch.flatten, torch.reshape, torch.squeeze)


def keep_operation(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    """Finds by its output what an operation does: flatten, restore a map, average the window, or work by value.

    Raises:
        NotConvertible: none of these.
    """
    expected = rewriter.expected(node)
    if isinstance(expected, Tensor):
        if _flatten(rewriter, node, layout, expected) or _restore_map(rewriter, node, layout, expected):
            return
        if pool_window(rewriter, node, layout, expected) or _join(rewriter, node, layout, expected):
            return
    if layout.is_flat and layout.size == (1, 1):
        _apply_to_vectors(rewriter, node, layout, expected)
    else:
        rewriter.put_checked(node, _emit_copy(rewriter, node, layout), layout, expected)


def _emit_copy(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> fx.Node:
    if not (layout.is_flat or layout.is_joined):
        return rewriter.emit_copy(node)
    nodes: list[fx.Node] = []
    with foreign_code() as failure:
        nodes.append(rewriter.emit_copy(node))
    reason = FLATTENED if layout.is_flat else JOINED
    return nodes[0] if nodes else rewriter.refuse(node, reason, cause=failure.error)


def _flatten(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, expected: Tensor) -> bool:
    """Whether the operation makes a window one vector: the map stays, and the next linear layer reads the window."""
    is_alone, is_last = len(rewriter.map_inputs(node)) == 1, layout.axes == (1, 2)
    if layout.is_flat or expected.dim() != 2 or not is_alone or not (is_last or layout.axes == (2, 3)):
        return False
    x = rewriter.new_node(input_node(node))
    window = replace(layout, squeezed=(), is_joined=False).two_windows(rewriter.new(x))
    if window.dim() != 4 or not equals(expected, window.flatten(1)):
        return False
    if layout.size != (1, 1):
        rewriter.note_change(node, f"{describe(layout.size)} positions made one vector", "left as a map")
    x = rewriter.call(torch.permute, x, (0, 3, 1, 2)) if is_last else x
    flat = replace(layout, axes=(2, 3), squeezed=(), is_joined=False, is_flat=True, is_channels_last=is_last)
    rewriter.put(node, x, flat)
    return True


def _join(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, expected: Tensor) -> bool:
    """Whether the operation makes rows and columns one axis, moves that, or makes it two again: the map keeps both."""
    is_plain = not layout.is_flat and not layout.squeezed and layout.averaged_to is None and layout.spacing == (1, 1)
    if not is_plain or rewriter.map_inputs(node) != [input_node(node)]:
        return False
    is_joined = expected.dim() == 3
    if not (is_joined or layout.is_joined) or layout.axes not in ((2, 3), (1, 2)):
        return False
    x = rewriter.new_node(input_node(node))
    for axes, order in (((2, 3), (0, 3, 1, 2)), ((1, 2), (0, 2, 3, 1))):
        after = replace(layout, axes=axes, is_joined=is_joined)
        moved = rewriter.new(x) if axes == layout.axes else rewriter.new(x).permute(order)
        if after != layout and equals(expected, after.two_windows(moved)):
            rewriter.put(node, x if axes == layout.axes else rewriter.call(torch.permute, x, order), after)
            return True
    return False


def _restore_map(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, expected: Tensor) -> bool:
    """Whether the operation makes a vector a map of 1x1, or a vector again: the new graph needs no operation."""
    if not layout.is_flat or len(rewriter.map_inputs(node)) != 1:
        return False
    window = rewriter.windows(input_node(node))
    makes_map = layout.size == (1, 1) and expected.shape == (*window.shape, 1, 1)
    keeps_vector = expected.shape == window.shape and _is_reshape(rewriter, node)
    if not (makes_map or keeps_vector) or not equals(expected.flatten(1), window):
        return False
    rewriter.put(node, rewriter.new_node(input_node(node)), replace(layout, is_flat=keeps_vector))
    return True


def _is_reshape(rewriter: SlidingRewriter, node: fx.Node) -> bool:
    """Whether an operation that changes no value here never changes one, unlike dropout."""
    if node.op == "call_module":
        return isinstance(rewriter.module(node), nn.Flatten)
    return node.target in RESHAPES


def _apply_to_vectors(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, expected: Any) -> None:
    """Keeps an operation on vectors: on the map itself where that is the same, else on a list of its vectors."""
    nodes: list[fx.Node] = []
    with foreign_code():
        nodes.append(rewriter.emit_copy(node))
    for new in nodes:
        if isinstance(rewriter.new(new), Tensor) and not rewriter.mismatch(new, layout, expected):
            rewriter.put(node, new, layout)
            return
        rewriter.graph.erase_node(new)
    rows = {used: rewriter.call(as_rows, rewriter.new_node(used)) for used in rewriter.map_inputs(node)}
    new = rewriter.emit_copy(node, rows)
    like = rewriter.new_node(rewriter.map_inputs(node)[0])
    rewriter.put_checked(node, rewriter.call(as_map, new, like), layout, expected)


def as_rows(x: Tensor) -> Tensor:
    """One vector for each position: (B, C, H, W) -> (B*H*W, C)."""
    return x.permute(0, 2, 3, 1).flatten(0, 2)


def as_map(rows: Tensor, like: Tensor) -> Tensor:
    """Undoes `as_rows`: (B*H*W, K) -> (B, K, H, W), with B, H and W of `like`, (B, C, H, W)."""
    return rows.unflatten(0, (like.shape[0], like.shape[2], like.shape[3])).permute(0, 3, 1, 2)


def linear(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    """Turns a linear layer into a convolution whose kernel is the window that was flattened."""
    module: Any = rewriter.module(node)
    if not layout.is_flat:
        keep_operation(rewriter, node, layout)
        return
    name = str(node.target)
    reads = replace(layout, stride=(1, 1), low=(0, 0), high=(0, 0))
    if rewriter.linear.setdefault(name, reads) != reads:
        rewriter.refuse(node, "it is called twice, on windows of different sizes")
    new = rewriter.call_added(name, as_convolution(module, layout), rewriter.new_node(input_node(node)))
    dilation = "" if layout.spacing == (1, 1) else f", dilation {describe(layout.spacing)}"
    old_text = f"linear {module.in_features} to {module.out_features}"
    rewriter.note_change(node, old_text, f"convolution {describe(layout.size)}{dilation}")
    after = layout.through_kernel(layout.size, dilation=layout.spacing)
    after = replace(after, size=(1, 1), spacing=(1, 1), is_channels_last=False, averaged_to=None)
    rewriter.put_checked(node, new, after, rewriter.expected(node))


def as_convolution(linear: nn.Linear, layout: WindowLayout) -> nn.Conv2d:
    """Returns the convolution that computes at every position what a linear layer computes for a flattened window.

    Args:
        linear: its weights are copied into the shape of a convolution's.
        layout: of the map that the convolution reads.
    """
    rows, columns = layout.averaged_to or layout.size
    weight = linear.weight.detach()
    if layout.is_channels_last:
        weight = weight.unflatten(1, (rows, columns, -1)).permute(0, 3, 1, 2).contiguous()
    else:
        weight = weight.unflatten(1, (-1, rows, columns))
    if layout.averaged_to is not None:
        weight = _absorb_averages(weight, layout.size)
    with torch.device("meta"):
        conv = nn.Conv2d(weight.shape[1], weight.shape[0], layout.size, dilation=layout.spacing, bias=False)
    conv.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    if linear.bias is not None:
        conv.bias = nn.Parameter(linear.bias.detach(), requires_grad=linear.bias.requires_grad)
    return conv.train(linear.training)


def _absorb_averages(weight: Tensor, size: Pair) -> Tensor:
    """Weights for averages (K, C, H, W) of a map -> weights for the map itself, of `size` (h, w): (K, C, h, w)."""
    rows, columns = (
        F.adaptive_avg_pool1d(torch.eye(n, dtype=torch.float64)[None], averages)[0].to(weight)
        for n, averages in zip(size, weight.shape[2:], strict=True)
    )  # (h, H), (w, W): share of each position in each average
    return torch.einsum("kcij,ai,bj->kcab", weight, rows, columns)


def dropout(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    """Puts an `nn.Dropout` for a call of the function."""
    rewriter.put(node, rewriter.call_dropout(node), layout)
