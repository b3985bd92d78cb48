"""Writes a new graph along the graph of a network, node by node, while both run, so that each node can be compared."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, NoReturn, Self, TypeVar

from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from unpool.errors import NotConvertible
from unpool.tracing.arguments import DROPOUT, input_node, read_arguments
from unpool.tracing.foreign import foreign_code
from unpool.tracing.graph import layer_of, run_node

LayoutT = TypeVar("LayoutT")  # how the values of an old node lie in those of the new one


class Change(NamedTuple):
    """What a conversion did to one layer."""

    layer: str
    old: str
    new: str


class Run(NamedTuple):
    """What the nodes of a graph run on: the network that has their modules, and one or more images."""

    network: nn.Module
    images: list[Tensor]


class Rewriter(Generic[LayoutT]):
    """A new graph that grows along an old one.

    Args:
        graph: the old one.
        old: what its nodes run on.
        new: what the new nodes run on.
        goal: end of "LAYER cannot be ...", the beginning of each refusal.
        setting: end of "it does not run ...", where an error ends a node.

    Attributes:
        graph: the new graph.
        changes: what was done to which layer.
        added: modules that the new graph calls and the network does not have, or has otherwise, by name.
        layouts: of each old node; None for values that do not lie in the image.
    """

    def __init__(self, graph: fx.Graph, *, old: Run, new: Run, goal: str, setting: str) -> None:
        self.graph = fx.Graph()
        self.changes: list[Change] = []
        self.added: dict[str, nn.Module] = {}
        self.layouts: dict[fx.Node, LayoutT | None] = {}
        self.old_values: dict[fx.Node, list[Any]] = {}
        self.new_values: dict[fx.Node, list[Any]] = {}
        self._old_graph, self._old, self._new, self._goal, self._setting = graph, old, new, goal, setting
        self._new_nodes: dict[fx.Node, fx.Node] = {}
        self._emitted: list[fx.Node] = []

    def follow(self, rewrite: Callable[[fx.Node], None]) -> None:
        """Runs each old node and calls `rewrite`, which puts a new one for it.

        Raises:
            NotConvertible: by `rewrite`, or because a node does not run.
        """
        readers = {node: len(node.users) for node in self._old_graph.nodes}
        for node in self._old_graph.nodes:
            with foreign_code(passing=NotConvertible) as failure:
                self.old_values[node] = self._run(node, self._old, self.old_values)
                rewrite(node)
            if failure:
                self.refuse(node, f"it does not run {self._setting} ({failure})", cause=failure.error)
            self._forget(node, readers)

    def refuse(self, node: fx.Node, reason: str, *, cause: Exception | None = None) -> NoReturn:
        """Raises NotConvertible, which names the layer and the reason."""
        raise NotConvertible(f"{layer_of(node)} cannot be {self._goal}: {reason}") from cause

    def output_node(self) -> fx.Node:
        """The old graph's last node."""
        return next(node for node in self._old_graph.nodes if node.op == "output")

    def old(self, node: fx.Node) -> Any:
        """Value of an old node for the first old image."""
        return self.old_values[node][0]

    def new(self, node: fx.Node) -> Any:
        """Value of a new node for the first new image."""
        return self.new_values[node][0]

    def new_node(self, node: fx.Node) -> fx.Node:
        """The new node that was put for an old one."""
        return self._new_nodes[node]

    def new_nodes(self, arguments: Any, replaced: Mapping[fx.Node, fx.Node] | None = None) -> Any:
        """Arguments of an old node with a new node for each old one, some of them taken from `replaced`."""
        return map_arg(arguments, lambda n: (replaced or {}).get(n) or self._new_nodes[n])

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that an old node calls in the new network; None for another operation."""
        return self._new.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def emit(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> fx.Node:
        """Adds a node to the new graph and runs it; a node that does not run is removed again."""
        node = self.graph.create_node(op, target, args, kwargs or {})
        try:
            self.new_values[node] = self._run(node, self._new, self.new_values)
        finally:
            if node not in self.new_values:
                self.graph.erase_node(node)
        self._emitted.append(node)
        return node

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Emits a call of a function."""
        return self.emit("call_function", function, args, kwargs)

    def call_added(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Emits a call of a module under a name that the network does not have, or has for another module."""
        self.added[name] = module.eval()
        return self.emit("call_module", name, (x,))

    def call_dropout(self, node: fx.Node) -> fx.Node:
        """Emits a module for dropout called as a function: it knows whether the network trains."""
        module = nn.Dropout(read_arguments(DROPOUT, node)["p"])
        return self.call_added(f"dropout_{node.name}", module, self.new_node(input_node(node)))

    def emit_copy(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node] | None = None) -> fx.Node:
        """Emits the old node's operation, with the inputs in `replaced` instead of those put for its inputs."""
        args, kwargs = self.new_nodes(node.args, replaced), self.new_nodes(dict(node.kwargs), replaced)
        return self.emit(node.op, node.target, args, kwargs)

    def put(self, node: fx.Node, new: fx.Node, layout: LayoutT | None = None) -> None:
        """Lets a new node stand for an old one from here on."""
        self._new_nodes[node], self.layouts[node] = new, layout

    def note_change(self, node: fx.Node, old: str, new: str) -> None:
        """Notes what was done to a layer, unless nothing was."""
        if old != new:
            self.changes.append(Change(layer_of(node), old, new))

    def _run(self, node: fx.Node, run: Run, values: Mapping[fx.Node, list[Any]]) -> list[Any]:
        """Values of a node for each image."""
        module = self.added.get(str(node.target)) if run is self._new else None
        return [
            run_node(node, run.network, {n: values[n][i] for n in node.all_input_nodes}, image, module=module)
            for i, image in enumerate(run.images)
        ]

    def _forget(self, node: fx.Node, readers: dict[fx.Node, int]) -> None:
        """Drops the values that no later node reads."""
        for emitted in self._emitted:
            if emitted is not self._new_nodes[node]:
                self.new_values[emitted] = []
        self._emitted.clear()
        for used in node.all_input_nodes:
            readers[used] -= 1
            if not readers[used]:
                self.old_values[used] = []
                new = self._new_nodes[used]
                if not any(count and self._new_nodes.get(other) is new for other, count in readers.items()):
                    self.new_values[new] = []


Rule = Callable[..., Any]


class RuleTable(NamedTuple):
    """Which rule rewrites which operation.

    Attributes:
        modules: by class; the first that fits is taken.
        methods: by name of a method of tensors.
        functions: by function.
        otherwise: for all other operations.
    """

    modules: tuple[tuple[Any, Rule], ...]
    methods: Mapping[str, Rule]
    functions: Mapping[Any, Rule]
    otherwise: Rule

    def rule_for(self, node: fx.Node, module: nn.Module | None) -> Rule:
        """The rule for a node that calls `module`, a function or a method."""
        if module is not None:
            return next((rule for kind, rule in self.modules if isinstance(module, kind)), self.otherwise)
        table: Mapping[Any, Rule] = self.methods if node.op == "call_method" else self.functions
        return table.get(node.target, self.otherwise)


class Rewritten(fx.GraphModule):
    """A graph of operations on a network's modules; parameters, buffers and modules keep their names, unused ones too.

    Args:
        root: the network whose modules, parameters and buffers are taken over.
        graph: calls them by name.
        properties: kept in `meta`, where copies find them.

    Attributes:
        changes: what was done to which layer, in the order in which they run.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, properties: dict[str, Any]) -> None:
        super().__init__(root, graph, type(self).__name__)
        self._modules.clear()
        self._parameters.clear()
        self._buffers.clear()
        self._parameters.update(root._parameters)
        self._buffers.update(root._buffers)
        self._modules.update(root._modules)
        self._non_persistent_buffers_set = set(root._non_persistent_buffers_set)
        self.meta.update(properties)

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.meta["changes"]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = super().__deepcopy__(memo)
        copied._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        return copied  # pyright: ignore[reportReturnType]
