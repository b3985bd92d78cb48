"""A convolution as one matrix, and its backward pass as convolutions (Dumoulin and Visin 2016, arXiv:1603.07285).

As in the field, "convolution" is correlation: the filter is not rotated in the forward pass.

Two matrices printed in lectures do not belong to the layer beside them; here the matrix is built from the definition:
- a filter (x, y, z), padding 1, as a 4 x 6 matrix times (a, b, c, d, 0): the padded input has six entries,
  (0, a, b, c, d, 0). `convolution_matrix` leaves out the columns of the padding: 4 x 4 times (a, b, c, d).
- a 3x3 filter on a 4x4 input as a 4 x 16 matrix: rows 1 and 3 are printed with 15 entries, and the padded map of its
  transpose has S21 where S22 belongs.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unpool.layers.dilation import stuff_zeros

PerAxis = int | tuple[int, ...]
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: nn.functional.conv1d, 2: nn.functional.conv2d}


def convolution_matrix(
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Returns the matrix A with `A @ x.flatten() == conv(x).flatten()`; its transpose is the transposed convolution.

    Each row is the filter of one output, shifted to that output's position; the zero padding has no columns.

    Args:
        weight: (C_out, C_in / groups, k) or (C_out, C_in / groups, k, k), as the convolution has it.
        size: of the input, (W,) or (H, W).
        stride: step of the filter, one number or one per axis; likewise the next two.
        padding: zeros on either side.
        dilation: distance of the taps.
        groups: groups of channels, as in torch's convolution.

    Returns:
        (C_out * output positions, C_in * input positions), rows and columns in the order of `flatten`.

    Raises:
        ValueError: the weight is of no 1-D or 2-D convolution over `size`, does not divide into the groups, or is
            larger than the padded input.
    """
    axes = _checked_axes(weight, size, groups)
    options = zip(_each(stride, axes), _each(padding, axes), _each(dilation, axes), strict=True)
    taps = [
        _taps(size[axis], weight.shape[2 + axis], *numbers).to(weight) for axis, numbers in enumerate(options)
    ]  # each (k, outputs, inputs)
    dense = _without_groups(weight, groups)
    if axes == 1:
        matrix = torch.einsum("oca,ayi->oyci", dense, taps[0])
    else:
        matrix = torch.einsum("ocab,ayi,bxj->oyxcij", dense, *taps)
    outputs = weight.shape[0]
    for tap in taps:
        outputs *= tap.shape[1]
    return matrix.reshape(outputs, -1)


def rotated(weight: Tensor, *, groups: int = 1) -> Tensor:
    """Rotates a filter by 180 degrees and exchanges its channels, as the backward pass needs it.

    Args:
        weight: (C_out, C_in / groups, ...).
        groups: groups of channels; channels are exchanged within each.

    Returns:
        (C_in, C_out / groups, ...).
    """
    turned = weight.flip(tuple(range(2, weight.dim()))).unflatten(0, (groups, -1))
    return turned.transpose(1, 2).flatten(0, 1)


def input_gradient(
    grad_output: Tensor,
    weight: Tensor,
    size: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Returns the gradient of a convolution's input: the full correlation of `grad_output` with the rotated filter.

    "Full" is padding `dilation * (k - 1) - padding`; with a stride, `stride - 1` zeros are inserted between gradients.

    Args:
        grad_output: (B, C_out, W') or (B, C_out, H', W').
        weight: (C_out, C_in / groups, k) or (C_out, C_in / groups, k, k).
        size: of the input, (W,) or (H, W).
        stride: of the convolution, one number or one per axis; likewise the next two.
        padding: of the convolution.
        dilation: of the convolution.
        groups: of the convolution.

    Returns:
        (B, C_in, *size).

    Raises:
        ValueError: the weight is of no 1-D or 2-D convolution over `size`, or does not divide into the groups.
    """
    axes = _checked_axes(weight, size, groups)
    spread = stuff_zeros(grad_output, stride)
    rates = _each(dilation, axes)
    pads: list[int] = []
    for axis in reversed(range(axes)):  # `pad` begins with the last dimension
        reach = rates[axis] * (weight.shape[2 + axis] - 1)
        before = reach - _each(padding, axes)[axis]
        pads += [before, size[axis] + reach - before - spread.shape[2 + axis]]
    full = nn.functional.pad(spread, pads)  # a negative pad crops gradients of the padding
    return CONVOLUTIONS[axes](full, rotated(weight, groups=groups), dilation=rates, groups=groups)


def weight_gradient(
    x: Tensor,
    grad_output: Tensor,
    kernel: Sequence[int],
    *,
    stride: PerAxis = 1,
    padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor:
    """Returns the gradient of a convolution's weight, summed over images: the correlation of `x` with `grad_output`.

    Stride and dilation are exchanged: that correlation has dilation `stride` and stride `dilation`.

    Args:
        x: (B, C_in, W) or (B, C_in, H, W).
        grad_output: (B, C_out, ...).
        kernel: size of the filter, (k,) or (k, k).
        stride: of the convolution, one number or one per axis; likewise the next two.
        padding: of the convolution.
        dilation: of the convolution.
        groups: of the convolution.

    Returns:
        (C_out, C_in / groups, *kernel).
    """
    axes = len(kernel)
    images = x.unflatten(1, (groups, -1)).transpose(0, 2).flatten(1, 2)  # (C_in / groups, groups * B, ...)
    filters = grad_output.transpose(0, 1)  # (C_out, B, ...)
    correlate = CONVOLUTIONS[axes]
    gradient = correlate(images, filters, stride=dilation, padding=padding, dilation=stride, groups=groups)
    for axis in range(axes):  # rows beyond the kernel are those that the stride skipped
        gradient = gradient.narrow(2 + axis, 0, kernel[axis])
    return gradient.transpose(0, 1)


def _checked_axes(weight: Tensor, size: Sequence[int], groups: int) -> int:
    axes = len(size)
    if axes not in CONVOLUTIONS or weight.dim() != axes + 2:
        raise ValueError(
            f"weight is {tuple(weight.shape)} and size {tuple(size)}; give (C_out, C_in / groups, k) with (W,), "
            "or (C_out, C_in / groups, k, k) with (H, W)"
        )
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(f"{weight.shape[0]} filters do not divide into {groups} groups; choose a divisor")
    return axes


def _each(value: PerAxis, axes: int) -> tuple[int, ...]:
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes:
        raise ValueError(f"{values} has not one number for each of the {axes} axes; give {axes}, or one for all")
    return values


def _taps(size: int, kernel: int, stride: int, padding: int, dilation: int) -> Tensor:
    """(k, outputs, inputs) bool: whether tap a of output y reads input i."""
    if stride < 1 or dilation < 1:
        raise ValueError(f"stride is {stride} and dilation {dilation}; both must be 1 or more")
    outputs = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if outputs < 1:
        raise ValueError(
            f"a filter of {kernel} taps, {dilation} apart, does not fit an input of {size} with padding {padding}; "
            "give a larger size or more padding"
        )
    tap, output = torch.arange(kernel)[:, None, None], torch.arange(outputs)[:, None]
    return output * stride + tap * dilation - padding == torch.arange(size)


def _without_groups(weight: Tensor, groups: int) -> Tensor:
    """(C_out, C_in / groups, ...) -> (C_out, C_in, ...) with zeros for the channels of other groups."""
    blocks = weight.unflatten(0, (groups, -1))  # (groups, C_out / groups, C_in / groups, ...)
    identity = torch.eye(groups).to(weight)
    dense = torch.einsum("gor,gh->gohr", blocks.flatten(2), identity)
    return dense.reshape(weight.shape[0], groups * weight.shape[1], *weight.shape[2:])
