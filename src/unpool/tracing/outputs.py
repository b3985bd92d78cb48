"""What a network gives, part by part, and how far two answers are apart."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from numbers import Integral, Number
from typing import Any

import torch
from torch import Tensor, nn

from unpool.errors import NotConvertible

TOLERANCE = 1e-5  # relative to the largest value of a map
Watch = Callable[[str, Tensor], Tensor | None]


def answer_of(network: nn.Module, image: Tensor, names: Sequence[str], watch: Watch) -> list[Any]:
    """Tensors, numbers and all else that the network gives, in order; what it draws is the same each time.

    Args:
        network: in evaluation mode.
        image: is left as it is.
        names: of the modules that are watched.
        watch: called with a name and what the module gives, which it may replace.

    Raises:
        NotConvertible: something in the answer cannot be looked into, or there is no tensor in it.
    """

    def hook(name: str, module: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        return watch(name, output)

    handles = [network.get_submodule(name).register_forward_hook(partial(hook, name)) for name in names]
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)
    try:
        answer = list(_leaves(network(image.clone()), type(network).__name__))
    finally:
        for handle in handles:
            handle.remove()
    if not any(isinstance(part, Tensor) for part in answer):
        raise NotConvertible(f"{type(network).__name__} gives no tensor, so that nothing can be compared")
    return answer


def _leaves(answer: Any, network: str) -> Iterator[Any]:
    if isinstance(answer, Mapping | Sequence) and not isinstance(answer, str | bytes):
        for part in answer.values() if isinstance(answer, Mapping) else answer:
            yield from _leaves(part, network)
    elif answer is None or isinstance(answer, (Tensor, Number, str, bytes, torch.dtype, torch.device)):
        yield answer
    else:
        raise NotConvertible(
            f"the answer of {network} holds a {type(answer).__name__}, which cannot be looked into: make it give "
            "tensors, in tuples, lists and mappings"
        )


def apart(a: Any, b: Any) -> float:
    """Largest difference of two parts of an answer, in units of the largest value; NaN is equal to NaN.

    Infinite where they are of two kinds, and where whole numbers or what is no number differ.
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


def _dense(x: Tensor) -> Tensor:
    """Whole numbers as they are, everything else in float64."""
    x = x.detach().cpu()
    x = x.dequantize() if x.is_quantized else x if x.layout is torch.strided else x.to_dense()
    if x.is_complex():
        return torch.view_as_real(x.to(torch.complex128))
    return x.double() if x.is_floating_point() else x


@torch.no_grad()
def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, in units of the largest value; infinite where there is nothing to compare."""
    if not a.numel() or not a.is_floating_point():
        return float(not torch.equal(a, b))
    if a.isnan().any() or not torch.equal(a.isfinite(), b.isfinite()):
        return torch.inf
    a, b = (x.nan_to_num(0.0, 0.0, 0.0) for x in (a, b))
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-300))
