"""Kinds of tensor operations, and what they cost."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

# indices of the two factors among the arguments
PRODUCTS = {"aten.addmm": (1, 2), "aten.mm": (0, 1), "aten.mv": (0, 1), "aten.bmm": (0, 1), "aten.baddbmm": (1, 2)}

# point by point in fact, but not marked so
UNMARKED = {"aten.hardswish", "aten.hardswish_", "aten.hardsigmoid_", "aten._prelu_kernel", "aten.prelu"}

# return their input, perhaps in another shape
VIEWS = {
    *("aten.view", "aten._unsafe_view", "aten.reshape", "aten._reshape_alias", "aten.unsqueeze", "aten.squeeze"),
    *("aten.alias", "aten.detach", "aten.clone", "aten._to_copy", "aten.lift_fresh", "aten.expand", "aten.empty"),
    *("aten.t", "aten.transpose", "aten.permute", "aten.slice", "aten.select", "aten.unbind"),
    *("aten.split", "aten.split_with_sizes", "aten.native_dropout"),
}

# take the shape of a tensor and none of its values
SHAPE_ONLY = {
    *("aten.zeros_like", "aten.ones_like", "aten.full_like", "aten.empty_like", "aten.rand_like", "aten.randn_like"),
    *("aten.new_zeros", "aten.new_ones", "aten.new_full", "aten.new_empty", "aten.new_empty_strided"),
}


def name_of(func: Any) -> str:
    """ "aten.convolution" of aten.convolution.default."""
    return str(func.overloadpacket)


def is_pointwise(func: Any) -> bool:
    """Whether each value of the result depends on the values at the same position only."""
    return torch.Tag.pointwise in func.tags or name_of(func) in UNMARKED


def multiply_adds(func: Any, args: tuple[Any, ...], output: Any, *, is_map: Callable[[Tensor], bool]) -> int:
    """Multiply-adds of an operation by the convention of `cost`; 0 for those it does not count.

    Args:
        func: the operation.
        args: its arguments.
        output: its result.
        is_map: whether a tensor depends on the image.
    """
    name = name_of(func)
    if name == "aten.convolution":
        image, weight, transposed = args[0], args[1], args[6]
        charged = image if transposed else output
        return charged.numel() * prod(weight.shape[1:])
    if name in PRODUCTS:
        factors = [args[index] for index in PRODUCTS[name]]
        return 0 if all(map(is_map, factors)) else output.numel() * factors[0].shape[-1]
    return 0


def only_passes_on(func: Any, args: tuple[Any, ...], output: Any) -> bool:
    """Whether an operation could be done in place: a view, a function of single values, or pooling to the same size."""
    name = name_of(func)
    if name in VIEWS:
        return True
    if name.startswith("aten._adaptive") or name.startswith("aten.adaptive"):
        return isinstance(output, Tensor) and output.shape == args[0].shape
    tensors = [value for value in args if isinstance(value, Tensor)]
    return is_pointwise(func) and len(tensors) == 1
