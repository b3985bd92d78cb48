"""Which inputs an output depends on by the structure of a network alone, whatever its weights are.

A copy of the network runs in which nothing can hide a path: weights are positive, so that paths never cancel; norms,
rectifiers and dropout pass their input on; max-pooling is replaced by the mean over its window.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from unpool.inspection.field_by_gradient import neutral_copy, window_mean

PASSED_ON = {
    *(F.relu, F.relu_, F.relu6, F.leaky_relu, F.leaky_relu_, F.elu, F.elu_, F.selu, F.celu, F.hardtanh, F.hardtanh_),
    *(F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.prelu, F.rrelu, F.threshold),
    *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, torch.clamp, Tensor.clamp, Tensor.clamp_, Tensor.clip),
    *(torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.tanh, Tensor.tanh, F.tanh, F.hardsigmoid),
    *(F.batch_norm, F.group_norm, F.layer_norm, F.instance_norm, F.local_response_norm, F.normalize),
    *(F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax),
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
}


@contextmanager
def all_paths_open(model: nn.Module, *, dtype: torch.dtype = torch.float64) -> Iterator[nn.Module]:
    """A context with a copy of the network on the CPU whose gradients show every path, to be run inside of it.

    Args:
        model: any network; it is not changed.
        dtype: of the copy; its inputs must have it too.

    Example:
        >>> image = torch.ones(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
        >>> with all_paths_open(nn.Conv2d(1, 1, 1, stride=2)) as copy:
        ...     copy(image).sum().backward()
        >>> (image.grad != 0).int()[0, 0].tolist()
        [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    """
    copy = neutral_copy(model).to(dtype)
    copy.eval()
    with torch.enable_grad(), _Open():
        yield copy


class _Open(TorchFunctionMode):
    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in PASSED_ON:
            return args[0] if args else kwargs["input"]
        return window_mean(func, args, kwargs)
