"""Operations that a dilated network runs on its maps: padding, pooling and averages on every d-th position.

Of the n positions of a map along an axis, 0, d, 2d, ... are those of the coarse map, which is the map of the network
before: ceil(n / d) of them, d being the grid. Sizes are read when the network runs, so that it takes every size of
image and can be exported with sizes left open.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unpool.convert.dilation.strides import Pair

Limit = tuple[int, int, int, int, int]  # grid before, slack, stride, last start or -1, grid after; see `keep_positions`


def every(x: Tensor, axes: tuple[int, ...], steps: tuple[int, ...]) -> Tensor:
    """Returns a view of every `steps[i]`-th position along `axes[i]`, from the first on."""
    index = [slice(None)] * x.dim()
    for axis, step in zip(axes, steps, strict=True):
        index[axis] = slice(None, None, step)
    return x[tuple(index)]


def pad(x: Tensor, before: Pair, after: Pair, value: float = 0.0) -> Tensor:
    """Pads (B, C, H, W) with one value: `before` rows above and columns at the left, `after` below and at the right."""
    return nn.functional.pad(x, (before[1], after[1], before[0], after[0]), value=value)


def pad_border(x: Tensor, before: Pair, after: Pair, mode: str, grid: Pair) -> Tensor:
    """Pads with values of the map as torch's padding modes do, each from a position that is a multiple of `grid` away.

    Args:
        x: (B, C, H, W).
        before: rows above and columns at the left that the network before adds; `grid` times as many are added here.
        after: likewise, below and at the right.
        mode: "reflect", "replicate" or "circular".
        grid: rows and columns between neighbours.
    """
    for axis, first, last, step in zip((-2, -1), before, after, grid, strict=True):
        if first or last:
            padded = torch.arange(-first * step, x.shape[axis] + last * step, device=x.device)
            x = x.index_select(axis, _source_positions(padded, x.shape[axis], mode, step))
    return x


def _source_positions(padded: Tensor, size: int, mode: str, step: int) -> Tensor:
    """For each position of the padded axis, the position among `size` whose value it takes."""
    phase = padded % step
    number = torch.div(padded - phase, step, rounding_mode="floor")
    count = torch.div(size - phase + step - 1, step, rounding_mode="floor").clamp(min=1)
    if mode == "reflect":
        period = (2 * count - 2).clamp(min=1)
        number = number % period
        number = torch.minimum(number, period - number)
    elif mode == "replicate":
        number = torch.minimum(number.clamp(min=0), count - 1)
    else:
        number = number % count
    return number * step + phase


def pad_same(x: Tensor, reach: Pair, stride: Pair, grid: Pair, value: float = 0.0) -> Tensor:
    """Pads as TensorFlow's "same" does for the coarse map, on its grid: as its size asks for, the smaller half first.

    Args:
        x: (B, C, H, W).
        reach: positions from the first to the last that the kernel reads, in the coarse map.
        stride: of the network before.
        grid: rows and columns between neighbours.
        value: of the padding.

    Returns:
        (B, C, H + reach * grid, ...): further padding that the kernel needs is at the end.
    """
    before = [
        _same_before(size, far, jump, step) * step
        for size, far, jump, step in zip(x.shape[-2:], reach, stride, grid, strict=True)
    ]
    after = [far * step - first for far, step, first in zip(reach, grid, before, strict=True)]
    return pad(x, (before[0], before[1]), (after[0], after[1]), value)


def _same_before(size: Any, reach: int, stride: int, step: int) -> Any:
    coarse = coarse_size(size, step)
    total = ((coarse + stride - 1) // stride - 1) * stride + reach + 1 - coarse
    return torch.sym_max(total, 0) // 2


def keep_positions(y: Tensor, x: Tensor, rows: Limit | None, columns: Limit | None) -> Tensor:
    """Crops y to the positions of the coarse map and those between its last one and the next.

    Args:
        y: (B, C, H', W') output of a convolution or pooling of x.
        x: (B, C, H, W) before its padding.
        rows: (grid of x, slack, stride, start, grid of y): the coarse map of x has h = ceil(H / grid of x) rows, that
            of y (h + slack) // stride + 1, where no kernel may start at h + start or later unless start is -1; None
            keeps the axis.
        columns: likewise.
    """
    for axis, rule in ((-2, rows), (-1, columns)):
        if rule is not None:
            y = _first(y, axis, _output_size(x.shape[axis], rule) * rule[4])
    return y


def _first(x: Tensor, axis: int, count: int) -> Tensor:
    # not a slice: an exported one would be a view, whose layout is decided for one size
    return x.index_select(axis, torch.arange(torch.sym_min(x.shape[axis], count), device=x.device))


def _output_size(size: Any, rule: Limit) -> Any:
    before, slack, stride, start, _ = rule
    coarse = (size + before - 1) // before
    result = (coarse + slack) // stride + 1
    return result if start < 0 else torch.sym_min(result, (coarse + start - 1) // stride + 1)


def crop_like(x: Tensor, like: Tensor, axes: Pair, like_axes: Pair) -> Tensor:
    """Crops x along `axes` to its first positions, at most as many as `like` has along `like_axes`."""
    for axis, other in zip(axes, like_axes, strict=True):
        x = _first(x, axis, like.shape[other])
    return x


def repeat_between(x: Tensor, like: Tensor, axes: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
    """Repeats each value of a coarse tensor for the positions of a finer one, up to the next value.

    Args:
        x: as large along `axes` as the coarse map in `like`.
        like: the finer tensor.
        axes: counted from the end.
        grid: positions of `like` between neighbours of `x`, by axis.

    >>> repeat_between(torch.tensor([1, 2, 3]), torch.zeros(2, 5), (-1,), (2,))
    tensor([1, 1, 2, 2, 3])
    """
    for axis, step in zip(axes, grid, strict=True):
        positions = torch.arange(like.shape[axis], device=x.device)
        x = x.index_select(axis, torch.div(positions, step, rounding_mode="floor"))
    return x


def split_shifts(x: Tensor, grid: Pair, count: Pair) -> Tensor:
    """Returns shifts of a fine map as one batch of coarse maps: shift s has the positions s, s + grid, s + 2 grid, ...

    Args:
        x: (B, C, H, W).
        grid: rows and columns between neighbours of a coarse map.
        count: how many shifts, from 0 on, in rows and in columns.

    Returns:
        (count * B, C, h, w), h and w being those of the first shift; a shorter one repeats its last position.

    >>> split_shifts(torch.arange(4.0).view(1, 1, 1, 4), (1, 2), (1, 2)).flatten(1)
    tensor([[0., 2.],
            [1., 3.]])
    """
    for axis, step, number in ((2, grid[0], count[0]), (3, grid[1], count[1])):
        size = x.shape[axis]
        first = torch.arange(coarse_size(size, step), device=x.device) * step
        index = first[:, None] + torch.arange(number, device=x.device)  # (h, number)
        index = torch.where(index < size, index, (index - step).clamp(min=0))
        x = x.index_select(axis, index.flatten())
    x = x.unflatten(3, (-1, count[1])).unflatten(2, (-1, count[0]))  # (B, C, h, rows, w, columns)
    return x.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


def join_shifts(x: Tensor, count: Pair) -> Tensor:
    """Undoes `split_shifts`: (count * B, C, h, w) -> (B, C, h * rows, w * columns)."""
    x = x.unflatten(0, (*count, -1)).permute(2, 3, 4, 0, 5, 1)  # (B, C, h, rows, w, columns)
    return x.flatten(4, 5).flatten(2, 3)


def coarse_shape(x: Tensor, axes: Pair, grid: Pair) -> tuple[Any, ...]:
    """Shape of the coarse map that lies in a finer one."""
    shape = list(x.shape)
    for axis, step in zip(axes, grid, strict=True):
        shape[axis] = coarse_size(x.shape[axis], step)
    return tuple(shape)


def coarse_size(size: Any, grid: int) -> Any:
    """How many positions of a coarse map lie in so many of a finer one."""
    return (size + grid - 1) // grid


def max_pool(x: Tensor, *, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, after: Pair) -> Tensor:
    """Max pooling; padding never is the maximum."""
    if any((*before, *after)):
        x = pad(x, before, after, -torch.inf)
    return nn.functional.max_pool2d(x, kernel, stride, 0, dilation)


def average_pool(
    x: Tensor, *, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, after: Pair, counted: Any
) -> Tensor:
    """Average pooling on a map with zeros around it.

    The sum over the kernel is divided by `counted`. Where that is ((top, left), (bottom, right)), it is divided by the
    number of positions of the map that the kernel reads, so many rows and columns of padding being counted too.
    """
    total = _kernel_sum(pad(x, before, after), kernel, stride, dilation)
    if isinstance(counted, int):
        return total / counted
    first, last = counted
    inside = pad(torch.ones_like(x[:1, :1]), first, last, 1.0)
    rest = (after[0] - last[0], after[1] - last[1])
    inside = pad(inside, (before[0] - first[0], before[1] - first[1]), rest)
    return total / _kernel_sum(inside, kernel, stride, dilation).clamp(min=1)


def _kernel_sum(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    channels = x.shape[1]
    weight = x.new_ones(channels, 1, *kernel)
    return nn.functional.conv2d(x, weight, None, stride, 0, dilation, channels)


def group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *, groups: int, eps: float, steps: Pair
) -> Tensor:
    """Group norm of (B, C, H, W) by mean and variance of every `steps`-th position."""
    grouped = x.unflatten(1, (groups, -1))  # (B, groups, C / groups, H, W)
    variance, mean = torch.var_mean(every(grouped, (3, 4), steps), (2, 3, 4), correction=0, keepdim=True)
    result = ((grouped - mean) * torch.rsqrt(variance + eps)).flatten(1, 2)
    if weight is not None:
        result = result * weight.view(1, -1, 1, 1)
    return result if bias is None else result + bias.view(1, -1, 1, 1)
