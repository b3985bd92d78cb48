"""Arguments of torch's functions by name, from a call's positions and keywords or from a module's attributes."""

from inspect import Parameter, Signature
from typing import Any

from torch import fx, nn


def _signature(*required: str, **defaults: Any) -> Signature:
    names = {**dict.fromkeys(required, Parameter.empty), **defaults}
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return Signature([Parameter(name, kind, default=default) for name, default in names.items()])


# as torch documents them; some of its functions have no signature that Python can read
CONV2D = _signature("input", "weight", bias=None, stride=1, padding=0, dilation=1, groups=1)
MAX_POOL2D = _signature(
    "input", "kernel_size", stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
)
AVG_POOL2D = _signature(
    "input", "kernel_size", stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
)
PAD = _signature("input", "pad", mode="constant", value=None)
DROPOUT = _signature("input", p=0.5, training=True, inplace=False)
FLATTEN = _signature("input", start_dim=0, end_dim=-1)
GROUP_NORM = _signature("input", "num_groups", weight=None, bias=None, eps=1e-5)


def read_arguments(signature: Signature, node: fx.Node, module: nn.Module | None = None) -> dict[str, Any]:
    """Value of each argument of a call, defaults included.

    Args:
        signature: of the function that the node calls, or of the function that the module stands for.
        node: the call.
        module: the module that the node calls, which keeps the arguments as attributes; None for a function.

    >>> graph = fx.Graph()
    >>> x = graph.placeholder("x")
    >>> read_arguments(FLATTEN, graph.call_function(nn.Flatten, (x, 1)))
    {'input': x, 'start_dim': 1, 'end_dim': -1}
    """
    if module is not None:
        return {name: vars(module).get(name, p.default) for name, p in signature.parameters.items()}
    bound = signature.bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def read_pool_arguments(signature: Signature, node: fx.Node, module: nn.Module | None) -> dict[str, Any]:
    """`read_arguments` of a pooling, whose stride is the size of its kernel where none was set."""
    arguments = read_arguments(signature, node, module)
    if arguments["stride"] in (None, [], ()):
        arguments["stride"] = arguments["kernel_size"]
    return arguments


def input_node(node: fx.Node) -> fx.Node:
    """The node whose value is the first argument of `node`."""
    first = node.args[0] if node.args else next(iter(node.kwargs.values()))
    return first if isinstance(first, fx.Node) else node.all_input_nodes[0]


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of an argument that may be one number for both.

    >>> pair(3), pair((3,)), pair([3, 5])
    ((3, 3), (3, 3), (3, 5))
    """
    if isinstance(value, int):
        return value, value
    rows, columns = value if len(value) == 2 else (value[0], value[0])
    return int(rows), int(columns)


def full_index(index: Any, dims: int) -> list[Any]:
    """One entry for each of `dims` axes of what stands between the brackets of `x[...]`.

    >>> full_index((..., 0), 3)
    [slice(None, None, None), slice(None, None, None), 0]
    """
    entries = list(index) if isinstance(index, tuple) else [index]
    ellipsis = next((i for i, entry in enumerate(entries) if entry is Ellipsis), None)
    if ellipsis is not None:
        entries[ellipsis : ellipsis + 1] = [slice(None)] * (dims - len(entries) + 1)
    return entries + [slice(None)] * (dims - len(entries))
