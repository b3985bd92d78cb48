"""Builds a graph beside another one and runs both, node by node, so that the first that differs is found at once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from unpool.convert.dilation.grid_operations import crop_like, every
from unpool.errors import NotConvertible
from unpool.tracing.graph import FAULTS, layer_of, run_node
from unpool.tracing.outputs import TOLERANCE, difference
from unpool.tracing.recorder import tensors_of
from unpool.tracing.rewriter import Change

Pair = tuple[int, int]


class Map(NamedTuple):
    """Where the values of a node lie in the image.

    Attributes:
        axes: which of its axes are rows and columns.
        stride: pixels of the image between neighbours, in the network before.
        grid: positions of the new network between those neighbours.
    """

    axes: Pair
    stride: Pair
    grid: Pair

    @property
    def is_dense(self) -> bool:
        return self.grid != (1, 1)


class Rewriting:
    """A new graph that grows along an old one.

    Args:
        source: the network before, in float64.
        tree: its modules once more; layers in it are set anew as the graph grows.
        images: what both are run on.
        output_stride: the coarsest stride that is kept.

    Attributes:
        graph: the new graph.
        changes: what became of which layer.
        settings: attributes that modules of `tree` got, by the modules' names.
        added: modules that the new graph calls beside those of the tree, by name.
        maps: what each old node is; None for what is no map.
    """

    def __init__(self, source: fx.GraphModule, tree: nn.Module, images: list[Tensor], output_stride: int) -> None:
        self.source, self.tree, self.images, self.output_stride = source, tree, images, output_stride
        self.graph = fx.Graph()
        self.changes: list[Change] = []
        self.settings: dict[str, dict[str, Any]] = {}
        self.added: dict[str, nn.Module] = {}
        self.maps: dict[fx.Node, Map | None] = {}
        self.old: dict[fx.Node, list[Any]] = {}
        self._new: dict[fx.Node, fx.Node] = {}
        self._values: dict[fx.Node, list[Any]] = {}
        self._set_before: dict[int, dict[str, Any]] = {}
        self._sizes: dict[tuple[Any, ...], Map] = {}
        self._spare: list[fx.Node] = []

    def follow(self, rule: Callable[["Rewriting", fx.Node], Map | None]) -> None:
        """Runs every node of the old graph, lets the rule write the new ones, and compares.

        Raises:
            NotConvertible: a layer has no exact counterpart.
        """
        waiting = {node: len(node.users) for node in self.source.graph.nodes}
        for node in self.source.graph.nodes:
            self.old[node] = self._run(node, self.source, self.old)
            self.maps[node] = None
            try:
                self.maps[node] = rule(self, node)
            except NotConvertible:
                raise
            except FAULTS as error:
                self.refuse(node, f"it does not run on the finer grid ({str(error).splitlines()[0]})")
            self._compare(node)
            for spare in self._spare:
                if spare is not self._new[node]:
                    self._values[spare] = []
            self._spare.clear()
            for used in node.all_input_nodes:
                waiting[used] -= 1
                if not waiting[used]:
                    self.old[used] = self._values[self._new[used]] = []

    @property
    def answer(self) -> Any:
        """What the old graph gives for the first image."""
        return self.value(next(node for node in self.source.graph.nodes if node.op == "output"))

    def refuse(self, node: fx.Node, reason: str) -> None:
        raise NotConvertible(f"{layer_of(node)} cannot be dilated to stride {self.output_stride}: {reason}")

    def emit(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> fx.Node:
        """A new node, run at once."""
        node = self.graph.create_node(op, target, args, kwargs or {})
        self._values[node] = self._run(node, self.tree, self._values)
        self._spare.append(node)
        return node

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        return self.emit("call_function", function, args, kwargs)

    def put(self, node: fx.Node, new: fx.Node) -> None:
        """`new` stands for the old node from here on."""
        self._new[node] = new

    def new(self, value: Any, replaced: Mapping[fx.Node, fx.Node] | None = None) -> Any:
        """Arguments of an old node in terms of the new ones, or of others for some."""
        return map_arg(value, lambda n: (replaced or {}).get(n, self._new[n]))

    def copy(self, node: fx.Node) -> None:
        """The same operation in the new graph."""
        self.copy_with(node, {})

    def copy_with(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node]) -> None:
        """The same operation, with other inputs for some."""
        args, kwargs = self.new(node.args, replaced), self.new(dict(node.kwargs), replaced)
        self.put(node, self.emit(node.op, node.target, args, kwargs))

    def is_unchanged(self, node: fx.Node) -> bool:
        """Whether a number is the same in both networks."""
        return self.old[node] == self._values[self._new[node]]

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.tree.get_submodule(str(node.target)) if node.op == "call_module" else None

    def set(self, node: fx.Node, settings: dict[str, Any]) -> None:
        """Gives attributes to the module that `node` calls; it must be called in one way only."""
        name = str(node.target)
        before = self._set_before.setdefault(id(self.tree.get_submodule(name)), settings)
        if before != settings:
            self.refuse(node, "it is called twice, on maps of different grids")
        self.settings[name] = settings
        apply_settings(self.tree, {name: settings})

    def add(self, name: str, module: nn.Module) -> None:
        """A module without parameters beside those of the tree."""
        self.added[name] = module
        self.tree.add_module(name, module.eval())

    def kept_step(self, node: fx.Node, stride: int, map_stride: int, grid: int) -> int:
        """What is left of a stride, so that no map is coarser than the output stride."""
        now = map_stride // grid
        if now * stride <= self.output_stride:
            return stride
        kept = self.output_stride // now
        if kept * now != self.output_stride or stride % kept:
            self.refuse(node, f"it goes from stride {now} to {now * stride} and the output stride does not divide that")
        return kept

    def known_place(self, node: fx.Node) -> Map | None:
        """A map whose sizes, old and new, are those of what `node` gives."""
        if not isinstance(self.value(node), Tensor) or self.value(node).dim() != 4:
            return None
        values = (*self.old[node], *self._values[self._new[node]])
        found = self._sizes.get(tuple(tuple(x.shape[-2:]) for x in values))
        return found if found and max(self.value(node).shape[-2:]) > 1 else None

    def value(self, node: fx.Node) -> Any:
        """What the old node gives for the first image."""
        return self.old[node][0]

    def sizes(self, node: fx.Node, axes: Pair) -> list[Pair]:
        """Rows and columns of the old node's map for each image."""
        return [(x.shape[axes[0]], x.shape[axes[1]]) for x in (next(tensors_of(v)) for v in self.old[node])]

    def input_maps(self, node: fx.Node) -> Iterator[tuple[fx.Node, Map]]:
        for used in node.all_input_nodes:
            found = self.maps[used]
            if found is not None:
                yield used, found

    def subsampled(self, node: fx.Node) -> fx.Node:
        """The positions that the network before has, of the new node that stands for `node`."""
        found = self.maps[node]
        if found is None or not found.is_dense:
            return self._new[node]
        return self.call(every, self._new[node], found.axes, found.grid)

    def aligned(self, node: fx.Node) -> dict[fx.Node, fx.Node]:
        """New nodes for the maps that `node` reads, cut to one size where borders made them differ."""
        maps = [(used, found) for used, found in self.input_maps(node) if isinstance(self.value(used), Tensor)]
        dense = [(used, found) for used, found in maps if found.is_dense]
        result = {used: self._new[used] for used, _ in maps}
        for used, found in dense:
            for other, _ in dense:
                if self._is_longer(result[used], result[other], found.axes):
                    result[used] = self.call(crop_like, result[used], result[other], found.axes)
        return result

    def _is_longer(self, one: fx.Node, other: fx.Node, axes: Pair) -> bool:
        pairs = zip(self._values[one], self._values[other], strict=True)
        return any(a.shape[axis] > b.shape[axis] > 1 for a, b in pairs for axis in axes)

    def change(self, node: fx.Node, old: str, new: str) -> None:
        if old != new:
            self.changes.append(Change(layer_of(node), old, new))

    def _run(self, node: fx.Node, root: nn.Module, values: dict[fx.Node, list[Any]]) -> list[Any]:
        """What a node gives for each image."""
        each = range(len(self.images))
        return [run_node(node, root, {n: values[n][i] for n in node.all_input_nodes}, self.images[i]) for i in each]

    def _compare(self, node: fx.Node) -> None:
        found = self.maps[node]
        new = self._values[self._new[node]]
        if node.op == "output":
            return
        if found is not None and isinstance(self.value(node), Tensor):
            sizes = [tuple(x.shape[axis] for axis in found.axes) for x in (*self.old[node], *new)]
            self._sizes.setdefault(tuple(sizes), found)
        for before, after in zip(self.old[node], new, strict=True):
            for a, b in zip(tensors_of(before), tensors_of(after), strict=True):
                kept = b if found is None else every(b, found.axes, found.grid)
                if kept.shape != a.shape:
                    self.refuse(node, f"it gives {tuple(kept.shape)} where {tuple(a.shape)} was")
                if (off := difference(a, kept)) > TOLERANCE:
                    self.refuse(
                        node, f"no rule keeps it exact on a finer grid (it differs by {off:.1e} of its largest value)"
                    )


def apply_settings(tree: nn.Module, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Gives each named module its attributes."""
    for name, values in settings.items():
        module = tree.get_submodule(name)
        for attribute, value in values.items():
            setattr(module, attribute, value)
