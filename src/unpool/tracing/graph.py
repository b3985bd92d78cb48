"""The graph of a network's operations, by `torch.fx`.

Leaves are torch's own layers, layers made from them, and modules without modules inside whose Python cannot be
followed; everything else is looked into.
"""

import copy
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg
from torch.nn.modules import batchnorm, conv, pooling

from unpool.errors import NotConvertible

FAULTS = (Exception,)  # running, copying or tracing somebody's module may raise anything

LAYERS = (
    conv._ConvNd,
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    batchnorm._NormBase,
    nn.LayerNorm,
    nn.Linear,
)


def trace(network: nn.Module) -> fx.GraphModule:
    """The network's operations, on its own modules.

    Raises:
        NotConvertible: its Python depends on the image, or it acts differently while it trains.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        whole = _followed_before(network)
        training, graph = (_Tracer(whole).trace(network.train(mode)) for mode in (True, False))
    except FAULTS as error:
        raise NotConvertible(
            f"{type(network).__name__} cannot be followed: {error}. Python that branches on the image must stand in a "
            "function marked with torch.fx.wrap"
        ) from error
    finally:
        for module, was_training in modes:
            module.training = was_training
    if different := _first_difference(training, graph):
        raise NotConvertible(
            f"{type(network).__name__} acts differently while it trains, from {different!r} on: "
            "give the part of it that does not"
        )
    return fx.GraphModule(network, graph)


def _followed_before(network: nn.Module) -> tuple[Callable[..., Any], ...]:
    """Python functions that an earlier graph calls: what was not looked into then is not now."""
    graphs = [module.graph for module in network.modules() if isinstance(module, fx.GraphModule)]
    called = [node.target for graph in graphs for node in graph.nodes if node.op == "call_function"]
    return tuple(f for f in called if isinstance(f, FunctionType) and not f.__module__.startswith("torch"))


def layer_of(node: fx.Node) -> str:
    """Dotted name of the module that a node stands in or calls."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    place = str(stack[-1][0]) if stack else ""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{place}:{name}" if place else str(name)


class _Tracer(fx.Tracer):
    def __init__(self, whole: tuple[Callable[..., Any], ...] = ()) -> None:
        super().__init__(autowrap_functions=whole)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, LAYERS):
            return True
        if type(m).__module__.startswith("torch.nn"):
            return not isinstance(m, nn.Sequential)
        return next(m.children(), None) is None and not _can_be_followed(m)


def _can_be_followed(module: nn.Module) -> bool:
    try:
        graphs = [_Tracer().trace(copy.copy(module).train(mode)) for mode in (True, False)]
    except FAULTS:
        return False
    return not _first_difference(*graphs)


def _first_difference(one: fx.Graph, other: fx.Graph) -> str:
    """Name of the first node that differs in more than a dropout's switch; empty where none does."""
    for a, b in zip(one.nodes, other.nodes, strict=False):
        if _said(a) != _said(b):
            return layer_of(a)
    return "" if len(one.nodes) == len(other.nodes) else "output"


def _said(node: fx.Node) -> tuple[str, ...]:
    if node.op == "call_function" and node.target is nn.functional.dropout:
        return ("dropout", str(node.args[0]))
    return (node.op, str(node.target), str(node.args), str(node.kwargs))


def run_node(
    node: fx.Node, root: nn.Module, values: Mapping[fx.Node, Any], image: Tensor, *, part: nn.Module | None = None
) -> Any:
    """What a node gives; `part` is the module that it calls, where that is no part of the network `root`."""
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
            return (part or root.get_submodule(str(node.target)))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]


def _attribute(root: Any, name: str) -> Any:
    for part in name.split("."):
        root = getattr(root, part)
    return root
