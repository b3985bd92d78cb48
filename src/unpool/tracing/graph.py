"""The graph of a network's operations, by `torch.fx`.

A node of the graph calls a whole module where the module is one of torch's layers, is derived from one, or has no
modules inside and Python that cannot be followed. All other modules are taken apart into their operations, of which
`ops.upsampling` has two.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.modules import batchnorm, conv, pooling

from unpool.errors import NotConvertible
from unpool.ops.upsampling import fit, upsample
from unpool.tracing.foreign import Failure, foreign_code
from unpool.tracing.outputs import TOLERANCE, strict_difference

LAYERS = (
    conv._ConvNd,
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    batchnorm._NormBase,
    nn.LayerNorm,
    nn.Linear,
)
KNOWN = ("torch", "torchvision", "timm")  # libraries whose layers do the same on images of every size


def trace(network: nn.Module) -> fx.GraphModule:
    """Records the operations of a network as a graph on the network's modules.

    >>> graph_module = trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    >>> [str(node.target) for node in graph_module.graph.nodes]
    ['input', '0', '1', 'output']

    Raises:
        NotConvertible: the network's Python branches on the values of the image, or its operations in training are
            others than in evaluation.
    """
    graphs, tracer = [], _Tracer(_functions_of_graphs(network))
    with foreign_code() as failure:
        followed = copy_on_same_tensors(network)  # which may keep what its code sees while it is followed
        graphs = [tracer.trace(followed.train(mode)) for mode in (True, False)]
    if tracer.branching is not None:
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: {tracer.branching or 'its own forward'} branches on its "
            "input. Python that does must stand in a function marked with torch.fx.wrap; compare at your sizes then"
        ) from failure.error
    if failure:
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: {_sentence(failure)}. Give the part of it that can, or "
            "the network itself where this one is compiled or wrapped"
        ) from failure.error
    training, evaluation = graphs
    if constant := next(_constants(evaluation), None):
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: {layer_of(constant).partition(':')[0]!r} makes a tensor "
            "while it runs, from no image (from numbers, sizes or buffers): make it once, and keep it as a buffer"
        )
    if layer := _first_difference(training, evaluation):
        raise NotConvertible(
            f"{type(network).__name__} acts differently while it trains, from {layer!r} on: "
            "give the part of it that does not"
        )
    return fx.GraphModule(network, evaluation)


def copy_on_same_tensors(network: nn.Module) -> nn.Module:
    """A copy whose modules can be changed, with the same parameters and buffers."""
    return copy.deepcopy(network, {id(x): x for x in (*network.parameters(), *network.buffers())})


def _functions_of_graphs(network: nn.Module) -> tuple[Callable[..., Any], ...]:
    """Python functions that traced modules inside of the network call; they stay one node each when traced again."""
    graphs = [module.graph for module in network.modules() if isinstance(module, fx.GraphModule)]
    called = [node.target for graph in graphs for node in graph.nodes if node.op == "call_function"]
    return tuple(f for f in called if isinstance(f, FunctionType) and not _source(f).startswith("torch"))


def layer_of(node: fx.Node) -> str:
    """Dotted name of the module that a node calls; for another operation, "module:operation"."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    module = str(stack[-1][0]) if stack else ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{module}:{name}" if module else str(name)


def _constants(graph: fx.Graph) -> Iterator[fx.Node]:
    """Nodes that read a tensor which was made while the graph was recorded."""
    return (node for node in graph.nodes if node.op == "get_attr" and str(node.target).startswith("_tensor_constant"))


class _Tracer(fx.Tracer):
    """Follows Python up to a branch, which the network's own code may catch.

    Attributes:
        branching: dotted name of the module whose Python branched on its input last; None where none did.
    """

    branching: str | None = None

    def __init__(self, kept_whole: tuple[Callable[..., Any], ...] = ()) -> None:
        super().__init__(autowrap_functions=(upsample, fit, *kept_whole))

    def create_args_for_root(self, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
        """The first argument is the image; others that the network can do without are as if none were passed."""
        forward, values = super().create_args_for_root(*args, **kwargs)
        for i, value in enumerate(values):
            if i > 1 and isinstance(value, fx.Proxy) and value.node.args:
                values[i] = value.node.args[0]
                self.graph.erase_node(value.node)
        return forward, values

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, LAYERS) or _is_of_torch(m):
            return True
        return next(m.children(), None) is None and not _can_be_followed(m)

    def to_bool(self, obj: fx.Proxy) -> bool:
        self.branching = self.scope.module_path
        return super().to_bool(obj)


def _is_of_torch(module: nn.Module) -> bool:
    """Whether what a module does is written in torch's layers, so not in a class derived from them; no container."""
    return _source(module.forward).startswith("torch.nn.modules") and not isinstance(module, nn.Sequential)


def _source(function: Callable[..., Any]) -> str:
    """The Python module in which a function is written; empty where it is generated."""
    return function.__module__ or ""


class _BranchFinder(_Tracer):
    """Follows all modules but layers of known libraries."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_of_torch(m) or (isinstance(m, LAYERS) and _source(m.forward).partition(".")[0] in KNOWN)


def why_other_images_may_differ(network: nn.Module) -> str:
    """Why another image may run other operations than those seen; empty where every image runs the same.

    Not seen are values that are looked up by a size, and errors that Python catches.

    Args:
        network: in evaluation mode. What layers of torch, torchvision and timm do inside is taken to be the same.

    >>> why_other_images_may_differ(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
    ''
    """
    network = _not_compiled(network)
    finder, graph = _BranchFinder(_functions_of_graphs(network)), fx.Graph()
    if finder.is_leaf_module(network, ""):
        return ""
    with foreign_code() as failure:
        graph = finder.trace(_without_checks(copy_on_same_tensors(network)))  # which may keep what it sees
    if finder.branching is not None:
        return f"{finder.branching or 'its own forward'} branches on its input"
    if failure:
        return f"its Python cannot be followed ({_sentence(failure)})"
    whole = [node for node in graph.nodes if node.op == "call_function" and _is_of_user(node.target)]
    return f"{layer_of(whole[0])} was not looked into, since torch.fx.wrap keeps it whole" if whole else ""


def _sentence(failure: Failure) -> str:
    """The first sentence of an error; torch adds paragraphs about itself."""
    return str(failure).partition(". ")[0].removesuffix(".")


def _without_checks(network: nn.Module) -> nn.Module:
    """The network, whose norms no longer ask how many axes their input has, and of which nothing is compiled."""
    for module in list(network.modules()):
        if isinstance(module, batchnorm._NormBase):
            setattr(module, "_check_input_dim", _nothing)  # noqa: B010
        for name, child in module.named_children():
            setattr(module, name, _not_compiled(child))
    return network


def _nothing(*_: Any) -> None:
    pass


def _not_compiled(module: nn.Module) -> nn.Module:
    """What `torch.compile` was called with."""
    return getattr(module, "_orig_mod", module)


def _is_of_user(function: Any) -> bool:
    return isinstance(function, FunctionType) and _source(function).partition(".")[0] not in ("torch", "unpool")


def _can_be_followed(module: nn.Module) -> bool:
    graphs, tracer = [], _Tracer()
    with foreign_code():
        graphs = [tracer.trace(copy.copy(module).train(mode)) for mode in (True, False)]
    is_same = len(graphs) == 2 and tracer.branching is None and not _first_difference(*graphs)
    return is_same and next(_constants(graphs[1]), None) is None


def _first_difference(one: fx.Graph, other: fx.Graph) -> str:
    """Layer of the first node that differs in more than a dropout's switch; empty where the graphs agree."""
    for a, b in zip(one.nodes, other.nodes, strict=False):
        if _operation(a) != _operation(b):
            return layer_of(a)
    return "" if len(one.nodes) == len(other.nodes) else "output"


def _operation(node: fx.Node) -> tuple[str, ...]:
    if node.op == "call_function" and node.target is nn.functional.dropout:
        return ("dropout", str(node.args[0]))
    return (node.op, str(node.target), str(node.args), str(node.kwargs))


def run_node(
    node: fx.Node, root: nn.Module, values: Mapping[fx.Node, Any], image: Tensor, *, module: nn.Module | None = None
) -> Any:
    """Runs one node of a graph, without gradients.

    Args:
        node: any but a placeholder reads the values of other nodes.
        root: the network whose modules and attributes the graph names.
        values: of the nodes that `node` reads.
        image: the value of a placeholder, which gets a copy.
        module: called instead of the network's module.
    """
    args: Any = map_arg(node.args, lambda n: values[n])
    kwargs: Any = map_arg(dict(node.kwargs), lambda n: values[n])
    if node.op == "placeholder":
        return image.clone()
    if node.op == "output":
        return args[0]
    if node.op == "get_attr":
        return _attribute(root, str(node.target))
    with torch.no_grad():
        if node.op == "call_module":
            return (module or root.get_submodule(str(node.target)))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def _attribute(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root


def refuse_other_outputs(network: nn.Module, outputs: list[Tensor], traced: list[Tensor]) -> None:
    """Raises where a graph computes other tensors than the network that it was traced from.

    Args:
        network: named in the message.
        outputs: what the network computes; hooks, and state that Python keeps between calls, take part in it.
        traced: what the operations of its graph compute for the same image.

    Raises:
        NotConvertible: the two differ in number, shape or values.
    """
    if len(outputs) == len(traced) and all(
        a.shape == b.shape and strict_difference(a, b) <= TOLERANCE for a, b in zip(outputs, traced, strict=True)
    ):
        return
    raise NotConvertible(
        f"{type(network).__name__} cannot be followed: its operations alone compute another output than the network "
        "does, as where hooks collect or change maps; give a network whose forward does all of the work"
    )
