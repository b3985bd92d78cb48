"""Rules for averages and maxima of a window, over both of its axes or one after the other, and for dropped axes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.map_layout import Pair, WindowLayout
from unpool.convert.sliding.rewriter import SlidingRewriter
from unpool.tracing.arguments import input_node
from unpool.tracing.outputs import TOLERANCE, strict_difference

F = nn.functional

AVERAGED = "it reads averages whose windows overlap or lie apart, which only a linear layer can"
REDUCTIONS = {"average": (F.avg_pool2d, torch.mean), "maximum": (F.max_pool2d, torch.amax)}
AXES = {(0, 1): "the map", (0,): "rows", (1,): "columns"}


class Pooling(NamedTuple):
    """A pooling of stride 1 that does what an operation does to a window.

    Attributes:
        name: what it computes, of `REDUCTIONS`.
        kernel: rows and columns.
        layout: of its output.
    """

    name: str
    kernel: Pair
    layout: WindowLayout


def pool_window(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout, expected: Tensor) -> bool:
    """Whether the operation is a mean or maximum of the window along one axis or both, or drops axes of one position.

    Then a pooling of stride 1 is put for it, and nothing where only axes are dropped.
    """
    is_plain = layout.spacing == (1, 1) and layout.averaged_to is None and layout.axes in ((2, 3), (1, 2))
    if layout.is_flat or not is_plain or rewriter.map_inputs(node) != [input_node(node)]:
        return False
    x = rewriter.new_node(input_node(node))
    pooling = _find_pooling(rewriter.new(x), layout, expected)
    if pooling is None:
        return False
    if pooling.kernel != (1, 1):
        axes = AXES[tuple(i for i in (0, 1) if pooling.kernel[i] > 1)]
        new_text = f"{pooling.name} of {describe(pooling.kernel)} positions, stride 1"
        rewriter.note_change(node, f"{pooling.name} of {axes}", new_text)
    _put_unless_mismatch(rewriter, node, _pool(rewriter, x, layout.axes, pooling), pooling.layout, expected)
    return True


def _pool(rewriter: SlidingRewriter, x: fx.Node, axes: Pair, pooling: Pooling) -> fx.Node:
    """The pooling of a map of these axes of rows and columns; a vector has its channels second."""
    has_kernel, is_flat = pooling.kernel != (1, 1), pooling.layout.is_flat
    if axes == (1, 2) and (has_kernel or is_flat):
        x = _pool(rewriter, rewriter.call(torch.permute, x, (0, 3, 1, 2)), (2, 3), pooling)
        return x if is_flat else rewriter.call(torch.permute, x, (0, 2, 3, 1))
    return rewriter.call(REDUCTIONS[pooling.name][0], x, pooling.kernel, 1) if has_kernel else x


def _find_pooling(larger: Tensor, layout: WindowLayout, expected: Tensor) -> Pooling | None:
    """The pooling that computes what is expected of two windows of a map; None where none does."""
    window = replace(layout, squeezed=(), is_joined=False).two_windows(larger)
    for dropped, pooling in _poolings(layout) if window.dim() == 4 else ():
        result = REDUCTIONS[pooling.name][1](window, [layout.axes[i] for i in dropped], keepdim=True)
        if equals(expected, pooling.layout.squeeze(result)):
            return pooling._replace(layout=pooling.layout.without_lost_axes())
    return None


def _poolings(layout: WindowLayout) -> Iterator[tuple[tuple[int, ...], Pooling]]:
    """Every pooling over all rows, all columns or both of a window, which are kept as axes or dropped; with these."""
    for dropped, name in product(AXES, REDUCTIONS):
        rows, columns = (n if i in dropped else 1 for i, n in enumerate(layout.size))
        size = (layout.size[0] // rows, layout.size[1] // columns)
        after = replace(layout.through_kernel((rows, columns)), size=size, is_joined=False)
        kept = (0,) if layout.is_joined else layout.squeezed
        for squeezed in sorted({kept, tuple(sorted({*layout.squeezed, *dropped}))}):
            if (rows, columns) != (1, 1) or squeezed != layout.squeezed:
                yield dropped, Pooling(name, (rows, columns), replace(after, squeezed=squeezed))


def _put_unless_mismatch(
    rewriter: SlidingRewriter, node: fx.Node, new: fx.Node, layout: WindowLayout, expected: Tensor
) -> None:
    if reason := rewriter.mismatch(new, layout, expected):
        rewriter.refuse(node, reason)
    rewriter.put(node, new, layout)


def adaptive_pool(rewriter: SlidingRewriter, node: fx.Node, layout: WindowLayout) -> None:
    """Averages of equal, adjacent parts become a pooling of stride 1; none is needed where the map has the size.

    Other averages go into the weights of the linear layer that follows.
    """
    if layout.averaged_to is not None:
        rewriter.refuse(node, AVERAGED)
    expected, size = rewriter.expected(node), layout.size
    x = rewriter.new_node(input_node(node))
    if layout.is_flat or layout.axes != (2, 3) or expected.dim() != 4:
        rewriter.refuse(node, "its rows and columns are not the last axes")
    if expected.shape[2:] == size:
        rewriter.note_change(node, f"averages to {describe(size)}", "nothing: the map has that size")
        rewriter.put(node, x, layout)
        return
    if pool_window(rewriter, node, layout, expected):
        return
    averages: Pair = (expected.shape[2], expected.shape[3])
    if layout.spacing != (1, 1):
        rewriter.refuse(node, AVERAGED)
    if any(n % m for n, m in zip(size, averages, strict=True)):
        old_text = f"averages of {describe(size)} to {describe(averages)}"
        rewriter.note_change(node, old_text, "in the weights of the next layer")
        rewriter.put(node, x, replace(layout, averaged_to=averages))
        return
    part = (size[0] // averages[0], size[1] // averages[1])
    new = rewriter.call(F.avg_pool2d, x, part, 1)
    after = replace(layout.through_kernel(part), size=averages, spacing=part)
    _put_unless_mismatch(rewriter, node, new, after, expected)
    new_text = f"averages of {describe(part)} positions, stride 1"
    rewriter.note_change(node, f"averages to {describe(averages)}", new_text)


def equals(a: Tensor, b: Tensor) -> bool:
    """Whether shapes are equal and values differ by rounding alone."""
    return a.shape == b.shape and strict_difference(b, a) <= TOLERANCE


def describe(size: Pair) -> str:
    """Rows and columns as texts have them."""
    return f"{size[0]}x{size[1]}"
