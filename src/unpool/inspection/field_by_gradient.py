"""Receptive field measured: which input pixels have a gradient at one output position.

A copy of the network runs in float64, and nothing in it can hide a path: weights are positive, so that paths never
cancel; biases and batch-norm statistics are neutral; max-pooling, which passes the gradient to one pixel only, is
replaced by the mean over the same window, un-pooling by repetition, and an activation that is flat from some value on
by none: sums of branches grow past it.
"""

import copy
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from unpool.inspection.traced import no_such_layer
from unpool.tracing.recorder import Call, Recorder, evaluating, tensors_of

MAX_POOLS = {
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d),
    *(torch.max_pool1d, torch.max_pool2d, torch.max_pool3d),
}
MAX_POOLS_WITH_INDICES = {F.max_pool1d_with_indices, F.max_pool2d_with_indices, F.max_pool3d_with_indices}
ADAPTIVE_MAX_POOLS = {
    F.adaptive_max_pool1d: F.adaptive_avg_pool1d,
    F.adaptive_max_pool2d: F.adaptive_avg_pool2d,
    F.adaptive_max_pool3d: F.adaptive_avg_pool3d,
}
SATURATING = {F.hardtanh, F.hardtanh_, F.relu6, F.hardsigmoid}  # without a gradient beyond a value


def gradient_field(
    model: nn.Module, input_shape: tuple[int, ...], layer: str | None = None, *, position: Sequence[int] | None = None
) -> tuple[int | None, ...]:
    """Pixels along each axis of the image (height, width) that one position of a layer's output depends on.

    Behind a transposed convolution or an interpolation the positions differ; the formula gives the widest of them.
    Memory and time are those of one training step on the image, in float64. A strip is enough to measure one
    axis: (3, 1024, 32) gives the height of a field below 1024.

    Args:
        model: any network; a copy of it is measured.
        input_shape: (C, H, W) of one image, without the batch.
        layer: dotted name of a module; its last call counts. The network's output where None.
        position: (row, column) in the layer's output; the middle where None.

    Returns:
        One number an axis; None where the field reaches both ends of the image, so that a larger one is needed.

    Raises:
        ValueError: there is no such layer, or its output does not depend on the image.
    """
    neutral = neutral_copy(model)
    image = torch.ones((1, *input_shape), dtype=torch.float64, requires_grad=True)
    outputs: dict[str, Any] = {}

    def keep(call: Call, output: Any) -> None:
        outputs[call.name] = output

    with evaluating(neutral), torch.enable_grad(), _NothingHides(), Recorder(neutral, watch=keep):
        neutral(image)
    if (layer or "") not in outputs:
        raise ValueError(no_such_layer(layer or "", outputs))
    output = next(tensors_of(outputs[layer or ""]))
    if not output.requires_grad:
        raise ValueError(f"the output of {layer or 'the network'!r} does not depend on the image")
    index = position or [size // 2 for size in output.shape[2:]]
    (gradient,) = torch.autograd.grad(output[(0, slice(None), *index)].sum(), image)
    return tuple(_extent(gradient[0] != 0, axis) for axis in range(1, len(input_shape)))


def _extent(reached: Tensor, axis: int) -> int | None:
    others = [other for other in range(reached.ndim) if other != axis]
    positions = reached.any(dim=others).nonzero()
    first, last = int(positions.min()), int(positions.max())
    return None if first == 0 and last == reached.shape[axis] - 1 else last - first + 1


def neutral_copy(model: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU with positive weights, no biases, and norms that change nothing."""
    values: dict[int, Tensor] = {id(buffer): _buffer(buffer) for buffer in model.buffers()}
    for name, parameter in model.named_parameters():
        values[id(parameter)] = nn.Parameter(_constant(name, parameter), requires_grad=False)
    neutral = copy.deepcopy(model, memo=dict(values))
    for module in neutral.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.zero_()
            module.running_var.fill_(1)
    return neutral


def _buffer(buffer: Tensor) -> Tensor:
    if buffer.is_meta:
        buffer = torch.ones(buffer.shape, dtype=buffer.dtype)
    return buffer.detach().clone().to("cpu", torch.float64 if buffer.is_floating_point() else buffer.dtype)


def _constant(name: str, parameter: Tensor) -> Tensor:
    """One number in the shape of the parameter, of no memory: the mean over the fan-in for weights, 1 for scales."""
    if parameter.ndim > 1:
        value = 1 / max(1, parameter[0].numel())
    else:
        value = 0.0 if name.rpartition(".")[2] == "bias" else 1.0
    return torch.tensor(value, dtype=torch.float64).expand(parameter.shape)


class _NothingHides(TorchFunctionMode):
    """Means instead of maxima, repetition instead of un-pooling, nothing instead of activations that saturate."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func in SATURATING else window_mean(func, args, kwargs or {})


def window_mean(func: Any, args: Any, kwargs: Any) -> Any:
    """Calls a function, but for max-pooling the mean over its window, and repetition for un-pooling."""
    options = {key: value for key, value in kwargs.items() if key != "return_indices"}
    if func in MAX_POOLS:
        return _mean_pool(*args, **options)
    if func in MAX_POOLS_WITH_INDICES:
        return _mean_pool(*args, **options), func(*args, **kwargs)[1]
    if func in ADAPTIVE_MAX_POOLS:
        return ADAPTIVE_MAX_POOLS[func](*args, **options)
    if func in (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d):
        return F.interpolate(args[0], func(*args, **kwargs).shape[2:])
    return func(*args, **kwargs)


def _mean_pool(
    image: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *, ceil_mode: bool = False
) -> Tensor:
    """(B, C, ...) -> sums over the windows of a max-pooling, by a convolution of ones so that dilation works."""
    dims, channels = image.ndim - 2, image.shape[1]
    kernel = [kernel_size] * dims if isinstance(kernel_size, int) else list(kernel_size)
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[dims - 1]
    convolution = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    steps = stride if stride not in (None, [], ()) else kernel_size
    with torch._C.DisableTorchFunction():
        size = pool(image.detach(), kernel_size, steps, padding, dilation, ceil_mode=ceil_mode).shape[2:]
    ones = torch.full((channels, 1, *kernel), 1 / prod(kernel), dtype=image.dtype)
    step = [steps] * dims if isinstance(steps, int) else list(steps)
    more = [item for extent in reversed(step) for item in (0, extent)]  # enough for the last windows of ceil_mode
    pooled = convolution(F.pad(image, more), ones, None, steps, padding, dilation, channels)
    return pooled[(..., *(slice(extent) for extent in size))]
