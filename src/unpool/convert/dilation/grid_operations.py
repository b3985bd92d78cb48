"""What a dilated network does with its maps: pads, pools and averages that keep to every d-th position.

A map is n positions long; of these 0, d, 2d, ... are those of the network before, h = ceil(n / d) of them, d being
the step of its grid. Sizes are read when the network runs, so that it takes every image size and can be exported with
sizes left open.
"""

from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[int, int]
Cut = tuple[int, int, int, int, int]  # grid before, slack, stride, last start or -1, grid after; see `cut`


def every(x: Tensor, axes: tuple[int, ...], steps: tuple[int, ...]) -> Tensor:
    """Every `steps[i]`-th position along `axes[i]`, from the first on; a view."""
    index = [slice(None)] * x.dim()
    for axis, step in zip(axes, steps, strict=True):
        index[axis] = slice(None, None, step)
    return x[tuple(index)]


def pad(x: Tensor, before: Pair, after: Pair, value: float = 0.0) -> Tensor:
    """(B, C, H, W) with rows above and below and columns left and right, all of one value."""
    return nn.functional.pad(x, (before[1], after[1], before[0], after[0]), value=value)


def pad_border(x: Tensor, before: Pair, after: Pair, mode: str, grid: Pair) -> Tensor:
    """Mirrors, repeats or continues the border as torch's modes do, among positions that are `grid` apart.

    Args:
        x: (B, C, H, W).
        before: rows and columns that the network before adds; `grid` times as many are added here.
        after: likewise, at the bottom and right.
        mode: "reflect", "replicate" or "circular".
        grid: rows and columns between neighbours.
    """
    for axis, first, last, step in zip((-2, -1), before, after, grid, strict=True):
        if first or last:
            place = torch.arange(-first * step, x.shape[axis] + last * step, device=x.device)
            x = x.index_select(axis, _mirrored(place, x.shape[axis], mode, step))
    return x


def _mirrored(place: Tensor, size: int, mode: str, step: int) -> Tensor:
    """Which of `size` positions stands at each place."""
    phase = place % step
    number = torch.div(place - phase, step, rounding_mode="floor")
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
    """Pads as TensorFlow's "same" does on the grid: as much as the size asks for, the smaller half first.

    Args:
        x: (B, C, H, W).
        reach: positions between the first and the last that the window sees, on the grid.
        stride: of the network before.
        grid: rows and columns between neighbours.
        value: of the padding.

    Returns:
        (B, C, H + reach * grid, ...): any further padding that the window needs stands at the end.
    """
    before = [
        _same_before(size, far, jump, step) * step
        for size, far, jump, step in zip(x.shape[-2:], reach, stride, grid, strict=True)
    ]
    after = [far * step - first for far, step, first in zip(reach, grid, before, strict=True)]
    return pad(x, (before[0], before[1]), (after[0], after[1]), value)


def _same_before(size: Any, reach: int, stride: int, step: int) -> Any:
    places = (size + step - 1) // step
    total = ((places + stride - 1) // stride - 1) * stride + reach + 1 - places
    return torch.sym_max(total, 0) // 2


def cut(y: Tensor, x: Tensor, rows: Cut | None, columns: Cut | None) -> Tensor:
    """The positions of y that the network before has, and those up to the next one.

    Args:
        y: (B, C, H', W') what a window made of x.
        x: (B, C, H, W) before its padding.
        rows: (grid of x, slack, stride, start, grid of y): the network before has h = ceil(H / grid of x)
            rows and makes (h + slack) // stride + 1 of them, where no window may start at h + start or later unless
            that is -1; None leaves the axis as it is.
        columns: likewise.
    """
    for axis, rule in ((-2, rows), (-1, columns)):
        if rule is not None:
            y = _first(y, axis, _places(x.shape[axis], rule) * rule[4])
    return y


def _first(x: Tensor, axis: int, count: int) -> Tensor:
    # not a slice: an exported one would be a view, whose layout is decided for one size
    return x.index_select(axis, torch.arange(torch.sym_min(x.shape[axis], count), device=x.device))


def _places(size: Any, rule: Cut) -> Any:
    before, slack, stride, start, _ = rule
    places = (size + before - 1) // before
    result = (places + slack) // stride + 1
    return result if start < 0 else torch.sym_min(result, (places + start - 1) // stride + 1)


def crop_like(x: Tensor, like: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The first positions of x along `axes`, at most as many as `like` has."""
    for axis in axes:
        x = _first(x, axis, like.shape[axis])
    return x


def shifts(x: Tensor, grid: Pair, count: Pair) -> Tensor:
    """The coarse maps that lie in a fine one, the first `count` of its `grid` shifts along each axis, as one batch.

    Args:
        x: (B, C, H, W).
        grid: rows and columns between neighbours of a coarse map.
        count: shifts that are given, in rows and in columns.

    Returns:
        (count * B, C, h, w), h and w being those of the first shift: of a shorter one the last position stands twice.
    """
    for axis, step, number in ((2, grid[0], count[0]), (3, grid[1], count[1])):
        size = x.shape[axis]
        first = torch.arange(places(size, grid=(step, step)), device=x.device) * step
        index = first[:, None] + torch.arange(number, device=x.device)  # (h, number)
        index = torch.where(index < size, index, (index - step).clamp(min=0))
        x = x.index_select(axis, index.flatten())
    x = x.unflatten(3, (-1, count[1])).unflatten(2, (-1, count[0]))  # (B, C, h, rows, w, columns)
    return x.permute(3, 5, 0, 1, 2, 4).flatten(0, 2)


def stitched(x: Tensor, count: Pair) -> Tensor:
    """`shifts` undone: (count * B, C, h, w) -> (B, C, h * rows, w * columns)."""
    x = x.unflatten(0, (*count, -1)).permute(2, 3, 4, 0, 5, 1)  # (B, C, h, rows, w, columns)
    return x.flatten(4, 5).flatten(2, 3)


def places(size: Any, grid: Pair) -> Any:
    """Positions that the network before has in one size or two; see the module's docstring."""
    if isinstance(size, tuple):
        return tuple((n + step - 1) // step for n, step in zip(size[-2:], grid, strict=True))
    return (size + grid[0] - 1) // grid[0]


def max_pool(x: Tensor, *, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, after: Pair) -> Tensor:
    """Maximum of a window, what lies outside of the map not counting."""
    if any((*before, *after)):
        x = pad(x, before, after, -torch.inf)
    return nn.functional.max_pool2d(x, kernel, stride, 0, dilation)


def average_pool(
    x: Tensor, *, kernel: Pair, stride: Pair, dilation: Pair, before: Pair, after: Pair, counted: Any
) -> Tensor:
    """Mean of a window on a map with zeros around it.

    The sum is divided by `counted` where that is an int; else by the positions of the map that the window sees,
    ((top, left), (bottom, right)) positions outside counting as the map's own.
    """
    total = _window_sum(pad(x, before, after), kernel, stride, dilation)
    if isinstance(counted, int):
        return total / counted
    first, last = counted
    inside = pad(torch.ones_like(x[:1, :1]), first, last, 1.0)
    rest = (after[0] - last[0], after[1] - last[1])
    inside = pad(inside, (before[0] - first[0], before[1] - first[1]), rest)
    return total / _window_sum(inside, kernel, stride, dilation).clamp(min=1)


def _window_sum(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    channels = x.shape[1]
    weight = x.new_ones(channels, 1, *kernel)
    return nn.functional.conv2d(x, weight, None, stride, 0, dilation, channels)


def group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *, groups: int, eps: float, steps: Pair
) -> Tensor:
    """Group norm of (B, C, H, W) with the mean and deviation of every `steps`-th position."""
    grouped = x.unflatten(1, (groups, -1))  # (B, groups, C / groups, H, W)
    variance, mean = torch.var_mean(every(grouped, (3, 4), steps), (2, 3, 4), correction=0, keepdim=True)
    result = ((grouped - mean) * torch.rsqrt(variance + eps)).flatten(1, 2)
    if weight is not None:
        result = result * weight.view(1, -1, 1, 1)
    return result if bias is None else result + bias.view(1, -1, 1, 1)
