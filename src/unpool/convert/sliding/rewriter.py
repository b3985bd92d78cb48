"""Writes the graph of a classifier anew for larger images, node by node.

The classifier runs on shapes alone, at its input size; the new graph runs on one larger image. For each operation two
windows of its input maps are cut out, as large as the classifier's maps. The classifier's operation on those must
compute what the new graph has in the same windows of its output.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from unpool.convert.sliding.map_layout import Layouts, Pair, WindowLayout, layout_of_output, two_windows
from unpool.tracing.foreign import foreign_code
from unpool.tracing.graph import run_node
from unpool.tracing.outputs import TOLERANCE, strict_difference
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import GraphInputs, Rewriter

ALL_OF_MAP = (
    "it reads all of its map, so that each position of the classifier has a value of its own: averages and maxima of "
    "the map slide, as x.mean((2, 3)) and x.amax((2, 3))"
)
FAR = 4032  # pixels added to measure strides; a multiple of every stride up to 10, and of 12, 14, 16, 32, 64


class SlidingRewriter(Rewriter[Layouts]):
    """Writes the graph that slides; its old values are those of the classifier for two images, shapes only.

    Args:
        source: the classifier in float64.
        empty: the classifier without values.
        size_hw: of the classifier's images.
        image: (1, C, H, W), larger than that on both axes.

    Attributes:
        linear: the layout of the window that each linear layer reads as a convolution, by the layer's name.
    """

    def __init__(self, source: fx.GraphModule, empty: nn.Module, size_hw: Pair, image: Tensor) -> None:
        shapes = image.new_empty((2, image.shape[1], *size_hw), device="meta")
        super().__init__(
            source.graph,
            old=GraphInputs(empty, [shapes], "on a batch of two without values", "make it read shapes alone"),
            new=GraphInputs(source, [image], "for an image of another size", "make it take maps of every size"),
            goal="made convolutional",
        )
        self.source, self.size_hw, self.image = source, size_hw, image
        self.linear: dict[str, WindowLayout] = {}

    def windows(self, node: fx.Node) -> Any:
        """The classifier's values of an old node at two positions; its numbers as they are."""
        value = self.new(self.new_node(node))
        if next(tensors_of(value), None) is None:
            return self.old(node)
        return two_windows(self.layouts[node], value)

    def expected(self, node: fx.Node) -> Any:
        """What the classifier's operation computes for the windows of its inputs."""
        return run_node(node, self.source, {n: self.windows(n) for n in node.all_input_nodes}, self.image)

    def expected_for(self, node: fx.Node, x: Tensor) -> Any:
        """What the classifier's operation computes for one map."""
        values = {n: self.windows(n) if self.layouts[n] is None else x for n in node.all_input_nodes}
        return run_node(node, self.source, values, self.image)

    def map_inputs(self, node: fx.Node) -> list[fx.Node]:
        """The inputs of an old node that depend on the image."""
        return [used for used in node.all_input_nodes if self.layouts[used] is not None]

    def put_checked(self, node: fx.Node, new: fx.Node, layout: WindowLayout, expected: Any) -> None:
        """Puts `new` for an old node that reads maps of this layout.

        Raises:
            NotConvertible: its windows are not as expected.
        """
        layouts = layout_of_output(self.old(node), self.new(new), layout)
        if reason := self.mismatch(new, layouts, expected):
            self.refuse(node, reason)
        if isinstance(layouts, WindowLayout) and layouts.size != layout.size:
            self.refuse(node, "it changes the size of its map in a way that is not known")
        self.put(node, new, layouts)

    def mismatch(self, new: fx.Node, layouts: Layouts, expected: Any) -> str:
        """Says how the windows of a new node differ from the expected ones; empty where they agree."""
        for a, b in zip(tensors_of(expected), tensors_of(two_windows(layouts, self.new(new))), strict=True):
            if a.shape != b.shape:
                return ALL_OF_MAP
            if not (off := strict_difference(a, b)) <= TOLERANCE:
                return f"it does not work value by value (windows differ by {off:.1e} of the largest value)"
        return ""


def values_for_size(source: fx.GraphModule, empty: nn.Module, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """Runs a graph without values on one image (C, H, W), up to the first node that does not take it.

    Linear layers do not take what a larger image makes of their input.
    """
    values: dict[fx.Node, Any] = {}
    image = torch.empty(1, *shape, dtype=torch.float64, device="meta")
    with foreign_code():
        for node in source.graph.nodes:
            values[node] = run_node(node, empty, values, image)
    return values


def coarsest_stride(source: fx.GraphModule, empty: nn.Module, shape: tuple[int, int, int]) -> Pair:
    """Measures the pixels between neighbours of the coarsest map, by axis, from sizes alone.

    Args:
        source: the classifier.
        empty: the classifier without values.
        shape: (C, H, W) of its images.
    """
    channels, height, width = shape
    native = values_for_size(source, empty, shape)
    strides = [(1, 1)]
    for node, larger in values_for_size(source, empty, (channels, height + FAR, width + FAR)).items():
        small: Any = native.get(node)
        if isinstance(small, Tensor) and isinstance(larger, Tensor) and small.dim() == larger.dim() == 4:
            grown = [b - a for a, b in zip(small.shape, larger.shape, strict=True) if b != a]
            if len(grown) == 2 and min(grown) > 0:
                strides.append((round(FAR / grown[0]), round(FAR / grown[1])))
    return max(s[0] for s in strides), max(s[1] for s in strides)
