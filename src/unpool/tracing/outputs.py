"""The output of a network as a list of parts, and how far two of them differ."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral, Number
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import NotConvertible

TOLERANCE = 1e-5  # relative to the largest value of a map
Watch = Callable[[str, Tensor], Tensor | None]


def outputs_of(network: nn.Module, image: Tensor, names: Sequence[str] = (), watch: Watch | None = None) -> list[Any]:
    """Runs a network and lists the tensors, numbers and other plain values in its output, in order.

    Args:
        network: in evaluation mode; it draws the same random numbers in every call of this function.
        image: the network gets a copy.
        names: of the modules that are watched.
        watch: called with the name and the output of each such module; what it returns replaces the output.

    Raises:
        NotConvertible: the output holds an object of another kind, or no tensor.

    >>> [tuple(x.shape) for x in outputs_of(nn.Conv2d(1, 2, 3), torch.zeros(1, 1, 5, 5))]
    [(1, 2, 3, 3)]
    """
    handles = [network.get_submodule(name).register_forward_hook(partial(_call_watch, watch, name)) for name in names]
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    try:
        parts = list(_parts(network(image.clone()), type(network).__name__))
    finally:
        for handle in handles:
            handle.remove()
    if not any(isinstance(part, Tensor) for part in parts):
        raise NotConvertible(f"{type(network).__name__} gives no tensor, so that nothing can be compared")
    return parts


def _call_watch(watch: Watch | None, name: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
    return watch(name, output) if watch is not None else None


def _parts(output: Any, network: str) -> Iterator[Any]:
    if isinstance(output, Mapping | Sequence) and not isinstance(output, str | bytes):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _parts(part, network)
    elif output is None or isinstance(output, (Tensor, Number, str, bytes, torch.dtype, torch.device)):
        yield output
    else:
        raise NotConvertible(
            f"the output of {network} holds a {type(output).__name__}, which cannot be compared: make it return "
            "tensors, in tuples, lists and mappings"
        )


def difference(a: Any, b: Any) -> float:
    """Largest difference of two parts of an output, relative to the largest value of `a`; NaN equals NaN.

    Infinite where kind, shape or dtype differ, and where integers or texts differ.

    >>> difference(torch.tensor([2.0, 4.0]), torch.tensor([2.0, 3.0])), difference("a", "a"), difference(1, 2)
    (0.25, 0.0, inf)
    """
    if all(isinstance(x, Number) and not isinstance(x, Integral) for x in (a, b)):
        a, b = torch.tensor(complex(a)), torch.tensor(complex(b))
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return 0.0 if type(a) is type(b) and a == b else torch.inf
    if (a.shape, a.dtype, a.layout) != (b.shape, b.dtype, b.layout):
        return torch.inf
    a, b = _dense(a), _dense(b)
    if not a.is_floating_point():
        return 0.0 if torch.equal(a, b) else torch.inf
    same = (a == b) | (a.isnan() & b.isnan())
    if same.all():
        return 0.0
    off = (a - b).abs().masked_fill(same, 0).nan_to_num(torch.inf, posinf=torch.inf)
    return float(off.max() / a.abs().masked_fill(~a.isfinite(), 0).max().clamp(min=1e-300))


def strict_difference(a: Tensor, b: Tensor) -> float:
    """`difference` of tensors, infinite where `a` holds a NaN, which equals nothing."""
    return torch.inf if a.isnan().any() else difference(a, b)


def _dense(x: Tensor) -> Tensor:
    """Integers as they are, everything else dense and in float64."""
    x = x.detach().cpu()
    x = x.dequantize() if x.is_quantized else x if x.layout is torch.strided else x.to_dense()
    if x.is_complex():
        return torch.view_as_real(x.to(torch.complex128))
    return x.double() if x.is_floating_point() else x
