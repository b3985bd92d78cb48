"""Writes a classifier's graph anew for larger images, and compares each operation with the classifier's own.

The classifier runs on shapes alone, at its own size. The new graph runs on a larger image. From what goes into each
operation two windows are cut as large as the classifier has them; its own operation on those must give what the new
graph has there.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from unpool.convert.sliding.layout import Pair, Place, Placed, placed_like, windows_of
from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS, layer_of, run_node
from unpool.tracing.outputs import TOLERANCE, difference
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import Change

FAR = 4032  # pixels added to measure strides; a multiple of every stride up to 10, and of 12, 14, 16, 32, 64


class Sliding:
    """A new graph that grows along a classifier's.

    Args:
        source: the classifier in float64.
        empty: the same without values.
        size_hw: of the images that it takes.
        image: (1, C, H, W), larger than that on both axes.

    Attributes:
        graph: the new graph.
        changes: what became of which layer.
        linear: the window that each linear layer reads as a convolution, by the layer's name.
        added: modules that the new graph calls beside those of the classifier, by name.
        places: how each value lies.
        native: what the classifier has for two images; shapes only.
    """

    def __init__(self, source: fx.GraphModule, empty: nn.Module, size_hw: Pair, image: Tensor) -> None:
        self.source, self.size_hw, self.image = source, size_hw, image
        self.graph = fx.Graph()
        self.changes: list[Change] = []
        self.linear: dict[str, Place] = {}
        self.added: dict[str, nn.Module] = {}
        self.places: dict[fx.Node, Placed] = {}
        self.native: dict[fx.Node, Any] = {}
        self._empty = empty
        self._new: dict[fx.Node, fx.Node] = {}
        self._values: dict[fx.Node, Any] = {}

    def follow(self, rule: Callable[["Sliding", fx.Node], None]) -> None:
        """Lets the rule write what becomes of each node.

        Raises:
            NotConvertible: a layer has no exact counterpart.
        """
        waiting = {node: len(node.users) for node in self.source.graph.nodes}
        shapes = self.image.new_empty((2, self.image.shape[1], *self.size_hw), device="meta")
        for node in self.source.graph.nodes:
            try:
                self.native[node] = run_node(node, self._empty, self.native, shapes)
                rule(self, node)
            except NotConvertible:
                raise
            except FAULTS as error:
                self.refuse(node, f"it does not run for an image of another size ({str(error).splitlines()[0]})")
            for used in node.all_input_nodes:
                waiting[used] -= 1
            self._forget(node.all_input_nodes, waiting)

    def _forget(self, nodes: list[fx.Node], waiting: dict[fx.Node, int]) -> None:
        """Lets go of maps that no operation will read."""
        needed = {self._new[node] for node, readers in waiting.items() if readers and node in self._new}
        for node in nodes:
            if self._new[node] not in needed:
                self._values[self._new[node]] = None

    def refuse(self, node: fx.Node, reason: str) -> NoReturn:
        raise NotConvertible(f"{layer_of(node)} cannot be made convolutional: {reason}")

    def emit(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> fx.Node:
        """A new node, run at once; none where it does not run."""
        node = self.graph.create_node(op, target, args, kwargs or {})
        try:
            self._values[node] = run_node(node, self.source, self._values, self.image, part=self.added.get(str(target)))
        except FAULTS:
            self.graph.erase_node(node)
            raise
        return node

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.emit("call_function", function, args, kwargs)

    def add(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """A call of a module that the classifier does not have, or has otherwise, under this name."""
        self.added[name] = module.eval()
        return self.emit("call_module", name, (x,))

    def copy(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node] | None = None) -> fx.Node:
        """The same operation in the new graph, with other inputs for some."""
        inputs = {**self._new, **(replaced or {})}
        args: Any = map_arg(node.args, lambda n: inputs[n])
        kwargs: Any = map_arg(dict(node.kwargs), lambda n: inputs[n])
        return self.emit(node.op, node.target, args, kwargs)

    def put(self, node: fx.Node, new: fx.Node, placed: Placed) -> None:
        """`new` stands for the old node from here on."""
        self._new[node], self.places[node] = new, placed

    def new(self, node: fx.Node) -> fx.Node:
        return self._new[node]

    def value(self, new: fx.Node) -> Any:
        """What a new node gives for the larger image."""
        return self._values[new]

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.source.get_submodule(str(node.target)) if node.op == "call_module" else None

    def windows(self, node: fx.Node) -> Any:
        """What the classifier has of a node at two positions."""
        value = self._values[self._new[node]]
        return self.native[node] if next(tensors_of(value), None) is None else windows_of(self.places[node], value)

    def own(self, node: fx.Node) -> Any:
        """What the classifier's own operation gives for the windows that go into it."""
        return run_node(node, self.source, {n: self.windows(n) for n in node.all_input_nodes}, self.image)

    def own_of(self, node: fx.Node, x: Tensor) -> Any:
        """What it gives for one map."""
        values = {n: self.windows(n) if self.places[n] is None else x for n in node.all_input_nodes}
        return run_node(node, self.source, values, self.image)

    def keep(self, node: fx.Node, new: fx.Node, place: Place, own: Any) -> None:
        """Lets `new` stand for `node`, computed from maps at `place`, where it gives what the classifier gives.

        Raises:
            NotConvertible: it does not.
        """
        placed = placed_like(self.native[node], self.value(new), place)
        if fault := self.fault(new, placed, own):
            self.refuse(node, fault)
        if isinstance(placed, Place) and placed.size != place.size:
            self.refuse(node, "it changes the size of its map in a way that is not known")
        self.put(node, new, placed)

    def fault(self, new: fx.Node, placed: Placed, own: Any) -> str:
        """In what the windows of `new` are not what the classifier has; empty where nothing differs."""
        for a, b in zip(tensors_of(own), tensors_of(windows_of(placed, self.value(new))), strict=True):
            if a.shape != b.shape:
                return "it reads all of its map, so that each position of the classifier has a value of its own"
            if not difference(a, b) <= TOLERANCE:
                return (
                    f"it does not work value by value (windows differ by {difference(a, b):.1e} of the largest value)"
                )
        return ""

    def change(self, node: fx.Node, old: str, new: str) -> None:
        self.changes.append(Change(layer_of(node), old, new))


def sizes_of(source: fx.GraphModule, empty: nn.Module, shape: tuple[int, ...]) -> dict[fx.Node, Any]:
    """What each operation gives for one image (C, H, W), without values, up to the first that does not take it."""
    values: dict[fx.Node, Any] = {}
    image = torch.empty(1, *shape, dtype=torch.float64, device="meta")
    with suppress(*FAULTS):  # linear layers do not take what a larger image gives
        for node in source.graph.nodes:
            values[node] = run_node(node, empty, values, image)
    return values


def stride_of(source: fx.GraphModule, empty: nn.Module, shape: tuple[int, int, int]) -> Pair:
    """Pixels between neighbours of the coarsest map, measured on sizes alone.

    Args:
        source: the classifier.
        empty: the same without values.
        shape: (C, H, W) of its images.
    """
    channels, height, width = shape
    native = sizes_of(source, empty, shape)
    strides = [(1, 1)]
    for node, larger in sizes_of(source, empty, (channels, height + FAR, width + FAR)).items():
        small: Any = native.get(node)
        if isinstance(small, Tensor) and isinstance(larger, Tensor) and small.dim() == larger.dim() == 4:
            grown = [b - a for a, b in zip(small.shape, larger.shape, strict=True) if b != a]
            if len(grown) == 2 and min(grown) > 0:
                strides.append((round(FAR / grown[0]), round(FAR / grown[1])))
    return max(s[0] for s in strides), max(s[1] for s in strides)
