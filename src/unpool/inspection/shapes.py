"""Builds and runs networks on the meta device, with shapes and no values, without torch's slow Python code for it.

On the meta device torch draws numbers, normalises, adds and rectifies through Python code, and loads its compiler for
it; that takes longer than everything else together. Here it is left out, for none of it changes a shape.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from unpool.inspection.operations import name_of

DRAWS = {"aten.normal_", "aten.uniform_", "aten.fill_", "aten.zero_", "aten.mul_"}  # in place: shapes stay
NORMS = {"aten.native_batch_norm", "aten._native_batch_norm_legit_no_training"}
SINGLE = {"aten.relu", "aten.add", "aten.sub", "aten.mul"}  # keep shape and kind where all arguments have the same


@contextmanager
def without_drawing() -> Iterator[None]:
    """Lets modules built inside a `with` have shapes and no values; no random numbers are drawn."""
    with torch.device("meta"), _WithoutDrawing():
        yield


class Watch(TorchDispatchMode):
    """A mode for every tensor operation, for which torch does not load its compiler."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class _WithoutDrawing(Watch):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(func) in DRAWS and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def run_operation(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs an operation; for frequent ones on the meta device, only the shape of the result is computed."""
    name = name_of(func)
    if name in NORMS and args[0].is_meta:
        image = args[0]
        channels = image.shape[1] if len(args) > 5 and args[5] is True else 0  # of the statistics kept in training
        return torch.empty_like(image), image.new_empty(channels), image.new_empty(channels)
    if name in SINGLE and not kwargs and _are_alike([value for value in args if isinstance(value, Tensor)]):
        return torch.empty_like(args[0])
    if name == "aten.addmm" and not kwargs and args[1].is_meta:
        return args[1].new_empty(args[1].shape[0], args[2].shape[1])
    if name == "aten.mean" and not kwargs and len(args) > 1 and args[0].is_meta:
        return args[0].new_empty(_reduced(*args))
    return func(*args, **kwargs)


def _reduced(x: Tensor, dims: list[int], keepdim: bool = False) -> list[int]:  # noqa: FBT001, FBT002 (as torch has it)
    gone = {dim % x.dim() for dim in dims}
    return [1 if dim in gone else n for dim, n in enumerate(x.shape) if keepdim or dim not in gone]


def _are_alike(tensors: list[Tensor]) -> bool:
    kinds = {(tensor.device.type, tensor.dtype, tensor.shape) for tensor in tensors}
    return len(kinds) == 1 and tensors[0].is_meta and tensors[0].is_floating_point()
