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


class GraphInputs(NamedTuple):
    """What the nodes of a graph run on, and the words of the error for a node that does not run.

    Attributes:
        network: has the modules that the nodes call.
        images: one or more; each node runs once for each.
        setting: words after "does not run", as "on the image".
        remedy: what a user can do then.
    """

    network: nn.Module
    images: list[Tensor]
    setting: str
    remedy: str


class Rewriter(Generic[LayoutT]):
    """A new graph that grows along an old one.

    Args:
        old_graph: the graph that is rewritten.
        old: what its nodes run on.
        new: what the new nodes run on.
        goal: words after "cannot be" in each refusal, as "dilated to stride 8".

    Attributes:
        graph: the new graph.
        changes: what was done to which layer.
        added: modules that the new graph calls and the network does not have, or has otherwise, by name.
        layouts: of each old node; None for values that do not lie in the image.
        old_values: of each old node, one value for each old image; empty once no later node reads them.
        new_values: of each new node, one value for each new image; empty once no later node reads them.
    """

    def __init__(self, old_graph: fx.Graph, *, old: GraphInputs, new: GraphInputs, goal: str) -> None:
        self.graph = fx.Graph()
        self.changes: list[Change] = []
        self.added: dict[str, nn.Module] = {}
        self.layouts: dict[fx.Node, LayoutT | None] = {}
        self.old_values: dict[fx.Node, list[Any]] = {}
        self.new_values: dict[fx.Node, list[Any]] = {}
        self._old_graph, self._old, self._new, self._goal = old_graph, old, new, goal
        self._new_nodes: dict[fx.Node, fx.Node] = {}
        self._emitted: list[fx.Node] = []

    def follow(self, rewrite: Callable[[fx.Node], None]) -> None:
        """Runs the old nodes in order and calls `rewrite` on each, which must `put` its replacement.

        Raises:
            NotConvertible: an old node does not run, `rewrite` raises it, or `rewrite` fails with another error.
        """
        readers = {node: len(node.users) for node in self._old_graph.nodes}
        for node in self._old_graph.nodes:
            with foreign_code(passing=NotConvertible) as failure:
                self.old_values[node] = self._run(node, self._old, self.old_values)
            if failure:
                reason = f"does not run {self._old.setting} ({failure}): {self._old.remedy}"
                raise NotConvertible(f"{layer_of(node)} of the original network {reason}") from failure.error
            with foreign_code(passing=NotConvertible) as failure:
                rewrite(node)
            if failure:
                reason = f"it does not run {self._new.setting} ({failure}): {self._new.remedy}"
                self.refuse(node, reason, cause=failure.error)
            self._forget(node, readers)

    def refuse(self, node: fx.Node, reason: str, *, cause: Exception | None = None) -> NoReturn:
        """Raises NotConvertible, which names the layer and the reason."""
        raise NotConvertible(f"{layer_of(node)} cannot be {self._goal}: {reason}") from cause

    def output_node(self) -> fx.Node:
        """Returns the old graph's last node."""
        return next(node for node in self._old_graph.nodes if node.op == "output")

    def old(self, node: fx.Node) -> Any:
        """Returns the value of an old node for the first old image.

        Raises:
            IndexError: no later node reads it, so that it was dropped.
        """
        return self.old_values[node][0]

    def new(self, node: fx.Node) -> Any:
        """Returns the value of a new node for the first new image.

        Raises:
            IndexError: no later node reads it, so that it was dropped.
        """
        return self.new_values[node][0]

    def new_node(self, node: fx.Node) -> fx.Node:
        """Returns the new node that replaces an old one."""
        return self._new_nodes[node]

    def map_arguments(self, arguments: Any, replaced: Mapping[fx.Node, fx.Node] | None = None) -> Any:
        """Returns `arguments` with each old node replaced: from `replaced` if there, else by its new node."""
        return map_arg(arguments, lambda n: (replaced or {}).get(n) or self._new_nodes[n])

    def module(self, node: fx.Node) -> nn.Module | None:
        """Returns the new network's module of the name that `node` calls; None if `node` is no module call."""
        return self._new.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def emit(self, op: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> fx.Node:
        """Adds a node to the new graph, runs it and returns it.

        If the run fails, removes the node and raises the error.
        """
        node = self.graph.create_node(op, target, args, kwargs or {})
        try:
            self.new_values[node] = self._run(node, self._new, self.new_values)
        finally:
            if node not in self.new_values:
                self.graph.erase_node(node)
        self._emitted.append(node)
        return node

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Emits a call of `function` and returns its node."""
        return self.emit("call_function", function, args, kwargs)

    def call_added(self, name: str, module: nn.Module, x: fx.Node) -> fx.Node:
        """Calls `module` under `name`, in place of any module the network has there; sets it to eval mode."""
        self.added[name] = module.eval()
        return self.emit("call_module", name, (x,))

    def call_dropout(self, node: fx.Node) -> fx.Node:
        """Replaces a functional dropout by an `nn.Dropout`, which follows the network's mode.

        The `training` of the call is ignored.
        """
        module = nn.Dropout(read_arguments(DROPOUT, node)["p"])
        return self.call_added(f"dropout_{node.name}", module, self.new_node(input_node(node)))

    def emit_copy(self, node: fx.Node, replaced: Mapping[fx.Node, fx.Node] | None = None) -> fx.Node:
        """Emits the old node's operation on the new nodes of its inputs, or on those in `replaced`."""
        args, kwargs = self.map_arguments(node.args, replaced), self.map_arguments(dict(node.kwargs), replaced)
        return self.emit(node.op, node.target, args, kwargs)

    def put(self, node: fx.Node, new: fx.Node, layout: LayoutT | None = None) -> None:
        """Records `new` as the replacement of the old `node`, with the `layout` of its values."""
        self._new_nodes[node], self.layouts[node] = new, layout

    def note_change(self, node: fx.Node, old: str, new: str) -> None:
        """Adds a `Change` of the layer to `changes`, unless `old` and `new` are equal."""
        if old != new:
            self.changes.append(Change(layer_of(node), old, new))

    def _run(self, node: fx.Node, inputs: GraphInputs, values: Mapping[fx.Node, list[Any]]) -> list[Any]:
        """Values of a node for each image."""
        module = self.added.get(str(node.target)) if inputs is self._new else None
        return [
            run_node(node, inputs.network, {n: values[n][i] for n in node.all_input_nodes}, image, module=module)
            for i, image in enumerate(inputs.images)
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
        modules: rules by class; the first whose class the module has is taken.
        methods: rules by name of a method of tensors.
        functions: rules by function.
        otherwise: the rule for all other operations.
    """

    modules: tuple[tuple[Any, Rule], ...]
    methods: Mapping[str, Rule]
    functions: Mapping[Any, Rule]
    otherwise: Rule

    def rule_for(self, node: fx.Node, module: nn.Module | None) -> Rule:
        """Returns the rule for a node; `module` is what it calls, None where it calls a function or a method."""
        if module is not None:
            return next((rule for kind, rule in self.modules if isinstance(module, kind)), self.otherwise)
        table: Mapping[Any, Rule] = self.methods if node.op == "call_method" else self.functions
        return table.get(node.target, self.otherwise)


class Rewritten(fx.GraphModule):
    """A graph of operations on a network's modules; parameters, buffers and modules keep their names, unused ones too.

    Args:
        root: the network whose modules, parameters and buffers are taken over.
        graph: the operations, which call these by name.
        properties: kept in `meta`, which copies keep; must hold "changes" and "caution".

    Attributes:
        changes: what was done to which layer, in the order in which they run.
        caution: why images of other sizes or values may run operations that were not compared; empty where all run the
            same.
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

    @property
    def caution(self) -> str:
        return self.meta["caution"]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = super().__deepcopy__(memo)
        copied._non_persistent_buffers_set = set(self._non_persistent_buffers_set)
        return copied  # pyright: ignore[reportReturnType]
