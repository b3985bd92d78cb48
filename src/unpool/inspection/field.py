"""Where the axes of the image are in a tensor, and the receptive field along each; follows views and permutations.

An axis is identified in the flattened tensor: element `flat` has position (flat // inner) % n along it. A view does not
change that, however many dimensions it merges or splits, so only permutations and reductions have to move an axis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from unpool.inspection.axis_field import AxisField


class CannotFollow(Exception):
    """Raised for an operation whose receptive field is not known; the message names it."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of the image inside a tensor.

    Attributes:
        window: receptive field along it.
        inner: elements between neighbours along this axis; 0 once all elements have one window.
        back: dimension in the image, counted from the end; it decides between dimensions of the same size.
    """

    window: AxisField
    inner: int
    back: int

    @property
    def is_whole(self) -> bool:
        return self.inner == 0

    def whole(self) -> "Axis":
        return replace(self, window=self.window.whole(), inner=0)


Field = tuple[Axis, ...]  # one entry an axis of the image
Change = Callable[[AxisField, int], AxisField]


def field_of_image(shape: Sequence[int]) -> Field:
    """Field of an image (B, C, ...): the window of each position is the position itself."""
    return tuple(
        Axis(AxisField.of_image(shape[dim]), prod(shape[dim + 1 :]), dim - len(shape)) for dim in range(2, len(shape))
    )


def dim_of(axis: Axis, shape: Sequence[int]) -> int | None:
    """The dimension that holds this axis, alone or with others; None where all elements have one window.

    Raises:
        CannotFollow: the axis was split over several dimensions.
    """
    if axis.is_whole:
        return None
    n, below = len(axis.window), [prod(shape[dim + 1 :]) for dim in range(len(shape))]
    alone = [dim for dim in range(len(shape)) if shape[dim] == n and below[dim] == axis.inner]
    if alone:
        return min(alone, key=lambda dim: abs(dim - len(shape) - axis.back))
    for dim in range(len(shape)):
        if below[dim] <= axis.inner and axis.inner * n <= below[dim] * shape[dim]:
            return dim
    if n == 1:
        return None
    raise CannotFollow(f"a view of shape {tuple(shape)} that splits an image axis of {len(axis.window)}")


def along(field: Field, shape: Sequence[int], changes: Mapping[int, Change], out: Sequence[int]) -> Field:
    """The field after `window = changes[dim](window, new size)` in some dimensions; `out` has as many as `shape`.

    Raises:
        CannotFollow: a changed dimension holds more than one axis.
    """
    changed = []
    for axis in field:
        dim = dim_of(axis, shape)
        if dim is None:
            changed.append(axis)
            continue
        below = prod(out[dim + 1 :])
        if dim in changes:
            window = changes[dim](_spread_inside(axis, shape, dim), out[dim])
            changed.append(replace(axis, window=window, inner=below))
        else:
            changed.append(replace(axis, inner=axis.inner // prod(shape[dim + 1 :]) * below))
    return tuple(changed)


def _spread_inside(axis: Axis, shape: Sequence[int], dim: int) -> AxisField:
    inner = axis.inner // prod(shape[dim + 1 :])
    if inner == 1 and len(axis.window) == shape[dim]:
        return axis.window
    if inner * len(axis.window) != shape[dim]:
        raise CannotFollow(f"a dimension of {shape[dim]} in which an image axis of {len(axis.window)} repeats")
    window = axis.window.take(np.arange(shape[dim]) // inner)
    return replace(window, stride=window.stride / inner, period=window.period * inner)


def permuted(field: Field, shape: Sequence[int], order: Sequence[int]) -> Field:
    """The field after `permute(order)` of a tensor of this shape."""
    moved = []
    out = [shape[dim] for dim in order]
    for axis in field:
        dim = dim_of(axis, shape)
        if dim is None:
            moved.append(axis)
            continue
        within = axis.inner // prod(shape[dim + 1 :])
        moved.append(replace(axis, inner=within * prod(out[list(order).index(dim) + 1 :])))
    return tuple(moved)


def reduced(field: Field, shape: Sequence[int], dims: Sequence[int], out: Sequence[int]) -> Field:
    """The field after mixing all of `dims`; axes in them become one window, `out` being the shape afterwards."""
    dims = [dim % len(shape) for dim in dims]
    kept = []
    for axis in field:
        dim = dim_of(axis, shape)
        if dim is None or dim in dims:
            kept.append(axis.whole())
            continue
        behind = [size for other, size in enumerate(shape) if other > dim and other not in dims]
        factor = prod(out) // max(1, prod(size for other, size in enumerate(shape) if other not in dims))
        within = axis.inner // prod(shape[dim + 1 :])
        kept.append(replace(axis, inner=within * prod(behind) * factor))
    return tuple(kept)


def merged(fields: Sequence[tuple[Field, Sequence[int]]], out: Sequence[int]) -> Field:
    """The field of a sum of tensors, each with its shape, broadcast to the shape `out`.

    Raises:
        CannotFollow: an axis lies in different dimensions of them.
    """
    result = [_broadcast(axis, fields[0][1], out) for axis in fields[0][0]]
    for field, shape in fields[1:]:
        for i, axis in enumerate(field):
            result[i] = _union(result[i], _broadcast(axis, shape, out))
    return tuple(result)


def _union(left: Axis, right: Axis) -> Axis:
    if not left.is_whole and not right.is_whole and left.inner != right.inner:
        raise CannotFollow("a sum of tensors in which an image axis lies in different dimensions")
    try:
        return replace(left, window=left.window.union(right.window), inner=max(left.inner, right.inner))
    except ValueError as error:
        raise CannotFollow(str(error)) from None


def _broadcast(axis: Axis, shape: Sequence[int], out: Sequence[int]) -> Axis:
    dim = dim_of(axis, shape)
    if dim is None:
        return axis
    target = dim + len(out) - len(shape)
    if shape[dim] == 1 and out[target] != 1:
        return axis.whole()
    within = axis.inner // prod(shape[dim + 1 :])
    return replace(axis, inner=within * prod(out[target + 1 :]))
