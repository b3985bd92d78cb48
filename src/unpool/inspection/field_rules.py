"""Rules for the receptive field after each tensor operation; an operation without a rule is refused, never guessed.

Two usual departures from a field measured by gradient: statistics of normalisations are not followed (a batch
norm in evaluation has none; those of group, layer and instance norms would make every field the whole image), and
positions in the zero padding count as seen.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from unpool.inspection.axis_field import AxisField
from unpool.inspection.field import CannotFollow, Change, Field, along, dim_of, merged, permuted, reduced


class Operation(NamedTuple):
    """One operation on tensors, as torch dispatches it.

    Attributes:
        name: "aten.convolution".
        args: its arguments.
        fields, shapes: of the tensors among them that depend on the image, in order.
        out: shape of the output whose field is computed.
        number: index of that output, where the operation returns several.
    """

    name: str
    args: tuple[Any, ...]
    fields: list[Field]
    shapes: list[tuple[int, ...]]
    out: tuple[int, ...]
    number: int

    def argument(self, index: int, default: Any = None) -> Any:
        return self.args[index] if len(self.args) > index and self.args[index] is not None else default


def field_after(operation: Operation, *, is_pointwise: bool) -> Field:
    """Computes the receptive field of an operation's output.

    Raises:
        CannotFollow: there is no rule for it, or the rule does not reach this case.
    """
    rule = RULES.get(operation.name)
    if rule is None and is_pointwise:
        rule = _pointwise
    if rule is None:
        raise CannotFollow(f"there is no rule for {operation.name}")
    return rule(operation)


def _pointwise(op: Operation) -> Field:
    return merged(list(zip(op.fields, op.shapes, strict=True)), op.out)


def _same(op: Operation) -> Field:
    return op.fields[0]


def _copy(op: Operation) -> Field:
    return merged([(op.fields[-1], op.shapes[-1])], op.out)


def _convolution(op: Operation) -> Field:
    _, weight, _, stride, padding, dilation, transposed, _, _ = op.args
    if len(op.fields) > 1:
        raise CannotFollow("a convolution whose weights depend on the image")
    kernel = weight.shape[2:]
    changes: dict[int, Change] = {}
    for axis, size in enumerate(kernel):
        numbers = {"stride": stride, "padding": padding, "dilation": dilation}
        options = {key: _of(value, axis) for key, value in numbers.items()}
        slide = AxisField.spread if transposed else AxisField.slide
        changes[len(op.out) - len(kernel) + axis] = partial(slide, kernel=size, **options)
    return _over_channels(
        along(op.fields[0], op.shapes[0], changes, op.out), op, channels=len(op.out) - len(kernel) - 1
    )


def _over_channels(field: Field, op: Operation, *, channels: int) -> Field:
    return tuple(
        axis.whole() if dim_of(before, op.shapes[0]) == channels else axis
        for axis, before in zip(field, op.fields[0], strict=True)
    )


def _of(value: Any, index: int) -> int:
    values = [value] if isinstance(value, int) else list(value)
    return values[index] if len(values) > 1 else values[0]


def _pool(op: Operation, *, dims: int, has_dilation: bool) -> Field:
    kernel = op.args[1]
    stride, padding = op.argument(2) or kernel, op.argument(3, 0)
    dilation = op.argument(4, 1) if has_dilation else 1
    changes: dict[int, Change] = {
        len(op.out) - dims + axis: partial(
            AxisField.slide,
            kernel=_of(kernel, axis),
            stride=_of(stride, axis),
            padding=_of(padding, axis),
            dilation=_of(dilation, axis),
        )
        for axis in range(dims)
    }
    return along(op.fields[0], op.shapes[0], changes, op.out)


def _adaptive(window: AxisField, size: int) -> AxisField:
    if size == 1:
        return window.whole()
    n, position = len(window), np.arange(size)
    first, last = position * n // size, -(-(position + 1) * n // size) - 1
    steps = range(int((last - first).max()) + 1)
    return window.resample(size, [np.minimum(first + step, last) for step in steps])


def _resize(op: Operation, *, dims: int, change: Callable[..., AxisField], scales_at: int) -> Field:
    scales = op.args[scales_at:]
    changes: dict[int, Change] = {}
    for axis in range(dims):
        dim = len(op.out) - dims + axis
        scale = scales[axis] if len(scales) > axis else None
        ratio = 1 / scale if scale else op.shapes[0][dim] / op.out[dim]
        corners = scales_at > 2 and bool(op.argument(2))
        changes[dim] = partial(change, ratio=ratio, corners=corners)
    return along(op.fields[0], op.shapes[0], changes, op.out)


def _nearest(window: AxisField, size: int, *, ratio: float, corners: bool, offset: float = 0.0) -> AxisField:
    return window.resample(size, [np.floor((np.arange(size) + offset) * ratio + 1e-9).astype(np.int64)])


def _smooth(
    window: AxisField, size: int, *, ratio: float, corners: bool, reach: int, antialias: bool = False
) -> AxisField:
    """Interpolation over `reach` neighbours on either side, as many more as antialiasing needs when it shrinks."""
    position = np.arange(size)
    centre = position * ((len(window) - 1) / max(size - 1, 1)) if corners else (position + 0.5) * ratio - 0.5
    support = reach * max(ratio, 1.0) if antialias else float(reach)
    centre = np.maximum(centre, 0)
    first = np.floor(centre - support + 1e-9).astype(np.int64) + 1
    last = np.ceil(centre + support - 1e-9).astype(np.int64) - 1
    steps = range(int((last - first).max()) + 1)
    return window.resample(size, [np.minimum(first + step, last) for step in steps])


def _adaptive_pool(op: Operation, *, dims: int) -> Field:
    return along(op.fields[0], op.shapes[0], {len(op.out) - 1 - axis: _adaptive for axis in range(dims)}, op.out)


def _unpool(op: Operation) -> Field:
    dims = range(len(op.out) - 2, len(op.out))
    return along(op.fields[0], op.shapes[0], dict.fromkeys(dims, _unpooled), op.out)


def _unpooled(window: AxisField, size: int) -> AxisField:
    return window.repeat(size, times=max(1, round(size / len(window))))


def _pad(op: Operation, *, position: Callable[[np.ndarray, int], np.ndarray]) -> Field:
    padding, changes = list(op.args[1]), {}
    for axis in range(len(padding) // 2):
        before = padding[2 * axis]
        changes[len(op.out) - 1 - axis] = partial(_take_padded, before=before, position=position)
    return along(op.fields[0], op.shapes[0], changes, op.out)


def _take_padded(window: AxisField, size: int, *, before: int, position: Callable[..., np.ndarray]) -> AxisField:
    return window.take(position(np.arange(size) - before, len(window)))


def _outside(positions: np.ndarray, n: int) -> np.ndarray:
    return positions


def _mirrored(positions: np.ndarray, n: int) -> np.ndarray:
    return n - 1 - np.abs(n - 1 - np.abs(positions))


def _repeated(positions: np.ndarray, n: int) -> np.ndarray:
    return np.clip(positions, 0, n - 1)


def _slice(op: Operation) -> Field:
    shape, dim, step = op.shapes[0], op.argument(1, 0) % len(op.shapes[0]), op.argument(4, 1)
    first = range(shape[dim])[slice(op.argument(2), op.argument(3), step)].start
    return along(op.fields[0], shape, {dim: partial(_strided, first=first, step=step)}, op.out)


def _strided(window: AxisField, size: int, *, first: int, step: int) -> AxisField:
    return window.take(first + np.arange(size) * step).scaled(step)


def _select(op: Operation) -> Field:
    dim = op.argument(1, 0) % len(op.shapes[0])
    index = op.number if op.name == "aten.unbind" else op.args[2] % op.shapes[0][dim]
    kept = [1 if axis == dim else size for axis, size in enumerate(op.shapes[0])]
    return along(op.fields[0], op.shapes[0], {dim: partial(_strided, first=index, step=1)}, kept)


def _split(op: Operation) -> Field:
    shape, sizes, dim = op.shapes[0], op.args[1], op.argument(2, 0) % len(op.shapes[0])
    first = sizes * op.number if isinstance(sizes, int) else sum(sizes[: op.number])
    return along(op.fields[0], shape, {dim: partial(_strided, first=first, step=1)}, op.out)


def _repeat(op: Operation) -> Field:
    repeats, shape = list(op.args[1]), op.shapes[0]
    longer = (1,) * (len(repeats) - len(shape)) + tuple(shape)
    for axis in op.fields[0]:
        dim = dim_of(axis, longer)
        if dim is not None and repeats[dim] > 1:
            raise CannotFollow("an image axis that is repeated as a whole")
    return along(op.fields[0], longer, {}, op.out)


def _pick(op: Operation) -> Field:
    dim = op.args[1] % len(op.out)
    if any(dim_of(axis, op.shapes[0]) == dim for axis in op.fields[0]):
        raise CannotFollow("rows or columns picked by an index")
    return along(op.fields[0], op.shapes[0], {}, op.out)


def _restrided(op: Operation) -> Field:
    if not all(axis.is_whole for axis in op.fields[0]):
        raise CannotFollow("a view with strides of its maker's choice")
    return op.fields[0]


def _flip(op: Operation) -> Field:
    changes: dict[int, Change] = {dim % len(op.out): _reversed for dim in op.args[1]}
    return along(op.fields[0], op.shapes[0], changes, op.out)


def _reversed(window: AxisField, size: int) -> AxisField:
    return window.take(np.arange(size)[::-1]).scaled(-1)


def _cat(op: Operation) -> Field:
    dim = op.argument(1, 0) % len(op.out)
    for field, shape in zip(op.fields, op.shapes, strict=True):
        if any(dim_of(axis, shape) == dim for axis in field):
            raise CannotFollow("maps put side by side along an axis of the image")
    return merged(list(zip(op.fields, op.shapes, strict=True)), op.out)


def _stack(op: Operation) -> Field:
    dim = op.argument(1, 0) % len(op.out)
    shapes = [(*shape[:dim], 1, *shape[dim:]) for shape in op.shapes]
    return merged(list(zip(op.fields, shapes, strict=True)), op.out)


def _permute(op: Operation) -> Field:
    rank = len(op.shapes[0])
    return permuted(op.fields[0], op.shapes[0], [dim % rank for dim in op.args[1]])


def _transpose(op: Operation) -> Field:
    order = list(range(len(op.shapes[0])))
    first, second = (op.args[1], op.args[2]) if len(op.args) > 2 else (0, -1)
    order[first], order[second] = order[second], order[first]
    return permuted(op.fields[0], op.shapes[0], order)


def _reduce(op: Operation) -> Field:
    rank = len(op.shapes[0])
    dims = op.argument(1, range(rank))
    return reduced(op.fields[0], op.shapes[0], [dims] if isinstance(dims, int) else list(dims) or range(rank), op.out)


def _product(op: Operation, *, image_at: int) -> Field:
    """A matrix product with weights: the last dimension is mixed."""
    if len(op.fields) > 1 or not isinstance(op.args[image_at], Tensor) or op.args[image_at].shape != op.shapes[0]:
        raise CannotFollow("a product of two matrices that depend on the image")
    return reduced(op.fields[0], op.shapes[0], [-1], op.out)


def _softmax(op: Operation) -> Field:
    shape, dim = op.shapes[0], op.args[1] % len(op.shapes[0])
    return tuple(axis.whole() if dim_of(axis, shape) == dim else axis for axis in op.fields[0])


def _shuffle(op: Operation) -> Field:
    block = partial(AxisField.repeat, times=op.args[1])
    return along(op.fields[0], op.shapes[0], dict.fromkeys(range(len(op.out) - 2, len(op.out)), block), op.out)


def _unshuffle(op: Operation) -> Field:
    block = partial(AxisField.slide, kernel=op.args[1], stride=op.args[1])
    return along(op.fields[0], op.shapes[0], dict.fromkeys(range(len(op.out) - 2, len(op.out)), block), op.out)


def _named(names: str, rule: Callable[[Operation], Field]) -> dict[str, Callable[[Operation], Field]]:
    return {f"aten.{name}": rule for name in names.split()}


Rule = Callable[[Operation], Field]
RULES: dict[str, Rule] = {
    **_named(
        "view _unsafe_view reshape _reshape_alias unsqueeze squeeze alias detach clone _to_copy lift_fresh", _same
    ),
    **_named("native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm", _same),
    **_named("native_layer_norm native_group_norm channel_shuffle native_channel_shuffle", _same),
    **_named("hardswish hardswish_ hardsigmoid_ _prelu_kernel prelu native_dropout expand", _pointwise),
    **_named("copy_", _copy),
    **_named("convolution", _convolution),
    **_named("max_pool2d_with_indices", partial(_pool, dims=2, has_dilation=True)),
    **_named("max_pool3d_with_indices", partial(_pool, dims=3, has_dilation=True)),
    **_named("avg_pool2d", partial(_pool, dims=2, has_dilation=False)),
    **_named("avg_pool3d", partial(_pool, dims=3, has_dilation=False)),
    **_named("_adaptive_avg_pool2d adaptive_max_pool2d", partial(_adaptive_pool, dims=2)),
    **_named("max_unpool2d", _unpool),
    **_named("upsample_nearest2d", partial(_resize, dims=2, change=_nearest, scales_at=2)),
    **_named("_upsample_nearest_exact2d", partial(_resize, dims=2, change=partial(_nearest, offset=0.5), scales_at=2)),
    **_named("upsample_bilinear2d", partial(_resize, dims=2, change=partial(_smooth, reach=1), scales_at=3)),
    **_named("upsample_bicubic2d", partial(_resize, dims=2, change=partial(_smooth, reach=2), scales_at=3)),
    **_named(
        "_upsample_bilinear2d_aa",
        partial(_resize, dims=2, change=partial(_smooth, reach=1, antialias=True), scales_at=3),
    ),
    **_named(
        "_upsample_bicubic2d_aa",
        partial(_resize, dims=2, change=partial(_smooth, reach=2, antialias=True), scales_at=3),
    ),
    **_named("constant_pad_nd", partial(_pad, position=_outside)),
    **_named("reflection_pad2d", partial(_pad, position=_mirrored)),
    **_named("replication_pad2d", partial(_pad, position=_repeated)),
    **_named("slice", _slice),
    **_named("select unbind", _select),
    **_named("split split_with_sizes", _split),
    **_named("repeat", _repeat),
    **_named("index_select", _pick),
    **_named("flip", _flip),
    **_named("as_strided as_strided_", _restrided),
    **_named("cat", _cat),
    **_named("stack", _stack),
    **_named("permute", _permute),
    **_named("transpose t", _transpose),
    **_named("mean sum amax amin max min var std", _reduce),
    **_named("addmm", partial(_product, image_at=1)),
    **_named("mm bmm", partial(_product, image_at=0)),
    **_named("_softmax _log_softmax _safe_softmax", _softmax),
    **_named("pixel_shuffle", _shuffle),
    **_named("pixel_unshuffle", _unshuffle),
}
