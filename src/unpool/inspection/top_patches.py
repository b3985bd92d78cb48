"""The images of a set that excite units of a layer most, and the part of each image that the unit sees."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from unpool.inspection.field import Field
from unpool.inspection.layer_maps import layer_output, unit_count
from unpool.inspection.traced import trace
from unpool.ops.cutting import Frame

COUNT = 9  # images of a unit, as in the paper's figure 2


class Excited(NamedTuple):
    """One image that excites a unit.

    Attributes:
        name: of the image.
        activation: the unit's largest in the image.
        position: (row, column) of it in the layer's map; empty of a layer without positions.
        image: (1, C, H, W) as the network takes it.
        picture: (3, H, W) uint8, the same to look at.
    """

    name: str
    activation: float
    position: tuple[int, ...]
    image: Tensor
    picture: Tensor


@torch.no_grad()
def top_images(
    model: nn.Module,
    images: Iterable[tuple[str, Tensor, Tensor]],
    *,
    layer: str,
    units: Sequence[int],
    count: int = COUNT,
) -> dict[int, list[Excited]]:
    """Returns the images in which each unit has its largest activations, the largest first; an image counts once.

    One image is in memory at a time, and the `count` that each unit keeps.

    Args:
        model: any network of one input.
        images: name, input (1, C, H, W) and picture of each; of equal activations the earlier one comes first.
        layer: dotted name of a module; its first call counts.
        units: channels of its output.
        count: images kept of each unit.

    Raises:
        RecipeError: there is no such layer or unit.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        >>> images = [(str(i), torch.full((1, 1, 2, 2), float(i)), torch.zeros(3, 2, 2)) for i in range(4)]
        >>> _ = [nn.init.constant_(one, 1.0) for one in network.parameters()]
        >>> tops = top_images(network, images, layer="1", units=[1], count=2)
        >>> [(one.name, one.activation) for one in tops[1]]
        [('3', 4.0), ('2', 3.0)]
    """
    best: dict[int, list[Excited]] = {unit: [] for unit in units}
    for name, image, picture in images:
        output = layer_output(model, image, layer)
        unit_count(output, layer, list(units))
        for unit in units:
            values = output[0, unit]
            highest = float(values.max())
            kept = best[unit]
            if len(kept) == count and highest <= kept[-1].activation:
                continue
            index = torch.unravel_index(values.argmax(), values.shape) if values.dim() else ()
            kept.append(Excited(name, highest, tuple(int(at) for at in index), image, picture))
            kept.sort(key=lambda one: -one.activation)
            del kept[count:]
    return best


class Windows:
    """What each position of a layer sees of the image, by formula; all of the image where no formula is known.

    Args:
        model: any network of one input; it is not changed.
        layer: dotted name of a module; its first call counts.

    Example:
        >>> windows = Windows(nn.Sequential(nn.Conv2d(3, 8, 5, stride=2, padding=2)), "0")
        >>> windows.frame((3, 32, 32), (0, 3))  # two rows lie in the padding
        Frame(left=4, top=-2, height=5, width=5)
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        self._model, self._layer = model, layer
        self._fields: dict[tuple[int, ...], Field | str] = {}

    def frame(self, input_shape: tuple[int, ...], position: tuple[int, ...]) -> Frame:
        """Returns the part of an image (C, H, W) that a position sees, which may reach beyond the image."""
        height, width = input_shape[1:]
        field = self._field(input_shape)
        if isinstance(field, str) or len(field) != len(position) or any(axis.is_whole for axis in field):
            return Frame(0, 0, height, width)
        ends = [(axis.window.low[at], axis.window.high[at]) for axis, at in zip(field, position, strict=True)]
        (top, bottom), (left, right) = ((int(low), int(high)) for low, high in ends)
        return Frame(left, top, bottom - top + 1, right - left + 1)

    def reason(self, input_shape: tuple[int, ...]) -> str:
        """Returns why no formula is known for images of a size; empty where one is."""
        field = self._field(input_shape)
        return field if isinstance(field, str) else ""

    def _field(self, input_shape: tuple[int, ...]) -> Field | str:
        if input_shape not in self._fields:
            self._fields[input_shape] = self._traced(input_shape)
        return self._fields[input_shape]

    def _traced(self, input_shape: tuple[int, ...]) -> Field | str:
        try:
            traced = trace(self._model, input_shape)
        except (RuntimeError, ValueError) as error:
            return str(error)
        return next(field for call, field in zip(traced.calls, traced.fields, strict=True) if call.name == self._layer)
