"""The receptive field of a layer by formula, following every branch."""

from typing import NamedTuple

from torch import nn

from unpool.inspection.field import Field
from unpool.inspection.traced import Traced, no_such_layer, trace


class Seen(NamedTuple):
    """Receptive field of a layer, by axis of the image (height, width).

    Attributes:
        size: input pixels that the position with the widest view sees; more than the image where padding counts.
        stride: input pixels between neighbouring positions; below one for maps finer than the image.
    """

    size: tuple[int, ...]
    stride: tuple[float, ...]


def seen(field: Field) -> Seen:
    """Returns size and stride of a field along each axis of the image."""
    return Seen(tuple(axis.window.size for axis in field), tuple(axis.window.stride for axis in field))


def receptive_field(model: nn.Module, input_shape: tuple[int, ...], layer: str | None = None) -> Seen:
    """Computes a receptive field by the formula r += (k - 1) d j, j *= s, along every branch; the widest counts.

    Every tensor operation is followed, also those between modules (sums, concatenations, resizing); see `axis_field`
    for the formula where maps grow, and `field_rules` for what is not counted.

    Args:
        model: any network; its weights are not used.
        input_shape: (C, H, W) of one image, without the batch.
        layer: dotted name of a module; its last call counts. The network's output where None.

    >>> receptive_field(nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.Conv2d(8, 8, 3)), (3, 64, 64))
    Seen(size=(9, 9), stride=(2.0, 2.0))

    Raises:
        ValueError: there is no such layer, it was not called, or an operation before it cannot be followed; the
            message names the operation.
    """
    traced = trace(model, input_shape)
    field = traced.fields[_last_call(traced, layer or "")]
    if isinstance(field, str):
        where = f"layer {layer!r}" if layer else "the output"
        raise ValueError(f"the receptive field of {where} has no formula: {field}; measure it with `gradient_field`")
    return seen(field)


def _last_call(traced: Traced, layer: str) -> int:
    indices = [index for index, call in enumerate(traced.calls) if call.name == layer]
    if not indices:
        raise ValueError(no_such_layer(layer, [call.name for call in traced.calls]))
    return indices[-1]
