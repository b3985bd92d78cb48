"""Arguments of torch's functions by name, however they were given."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from torch import fx, nn

# torch's own signatures; some of its functions have none that can be read


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1): ...  # noqa: A002


def max_pool2d(
    input,  # noqa: A002
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,  # noqa: FBT002
    return_indices=False,  # noqa: FBT002
): ...


def avg_pool2d(
    input,  # noqa: A002
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,  # noqa: FBT002
    count_include_pad=True,  # noqa: FBT002
    divisor_override=None,
): ...


def pad(input, pad, mode="constant", value=None): ...  # noqa: A002


def dropout(input, p=0.5, training=True, inplace=False): ...  # noqa: A002, FBT002


def flatten(input, start_dim=0, end_dim=-1): ...  # noqa: A002


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5): ...  # noqa: A002


def given(form: Callable[..., Any], node: fx.Node) -> dict[str, Any]:
    """What a call gives to each argument of `form`, with the defaults."""
    bound = signature(form).bind(*node.args, **node.kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def of_module(form: Callable[..., Any], module: nn.Module) -> dict[str, Any]:
    """The same for a module that keeps them under their names."""
    return {name: vars(module).get(name, p.default) for name, p in signature(form).parameters.items()}


def first(node: fx.Node) -> fx.Node:
    """The node that gives what `node` works on."""
    found = node.args[0] if node.args else next(iter(node.kwargs.values()))
    return found if isinstance(found, fx.Node) else node.all_input_nodes[0]


def pair(value: Any) -> tuple[int, int]:
    """Rows and columns of what may be given as one number."""
    if isinstance(value, int):
        return value, value
    rows, columns = value if len(value) == 2 else (value[0], value[0])
    return int(rows), int(columns)
