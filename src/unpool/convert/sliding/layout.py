"""Where the values of a classifier lie when it slides over an image.

A map of the classifier, as it stands for an image of its own size, is a window of a larger map. A window moves with the
classifier: at position (i, j) it starts i rows and j columns further. A vector is a window of 1x1.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unpool.tracing.recorder import tensors_of

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """How a larger map holds what the classifier has.

    Attributes:
        size: rows and columns of the window.
        stride: pixels of the image between neighbours of the map.
        low, high: first and last row and column of the image that the map's first value reads, as if it went on.
        spacing: rows and columns of the map between neighbours of the window.
        axes: which axes of the map are rows and columns.
        is_flat: the classifier has the window as one vector, (B, features).
        is_channels_last: that vector runs over (rows, columns, channels) instead of (channels, rows, columns).
        made: rows and columns that the classifier averages the window to; None where it has the window itself.
    """

    size: Pair
    stride: Pair
    low: Pair
    high: Pair
    spacing: Pair = (1, 1)
    axes: Pair = (2, 3)
    is_flat: bool = False
    is_channels_last: bool = False
    made: Pair | None = None

    def but(self, **changed: Any) -> "Place":
        """The same with other values for some attributes."""
        return replace(self, **changed)

    def windows(self, larger: Tensor) -> Tensor:
        """Two windows of a map (1, ...), upper right and lower left, as the classifier has them: (2, ...)."""
        reach = [(n - 1) * d for n, d in zip(self.size, self.spacing, strict=True)]
        last = [larger.shape[axis] - 1 - far for axis, far in zip(self.axes, reach, strict=True)]
        return torch.cat([self._window(larger, start, reach) for start in ((0, last[1]), (last[0], 0))])

    def _window(self, larger: Tensor, start: Pair | tuple[int, int], reach: list[int]) -> Tensor:
        index = [slice(None)] * larger.dim()
        for axis, first, far, step in zip(self.axes, start, reach, self.spacing, strict=True):
            index[axis] = slice(first, first + far + 1, step)
        window = larger[tuple(index)]
        if self.made is not None:
            window = nn.functional.adaptive_avg_pool2d(window, self.made)
        if not self.is_flat:
            return window
        return (window.permute(0, 2, 3, 1) if self.is_channels_last else window).flatten(1)

    def seen_through(
        self, kernel: Pair, *, stride: Pair = (1, 1), dilation: Pair = (1, 1), before: Pair = (0, 0)
    ) -> "Place":
        """Stride, low and high of what a window with `before` rows and columns of padding makes of the map."""
        axes = list(zip(self.stride, self.low, self.high, kernel, stride, dilation, before, strict=True))
        steps = [jump * step for jump, _, _, _, step, _, _ in axes]
        low = [at - pad * jump for jump, at, _, _, _, _, pad in axes]
        high = [at + (d * (k - 1) - pad) * jump for jump, _, at, k, _, d, pad in axes]
        return self.but(stride=(steps[0], steps[1]), low=(low[0], low[1]), high=(high[0], high[1]))


Placed = Place | tuple["Placed", ...] | None  # tuples where an operation gives several maps


def windows_of(placed: Placed, value: Any) -> Any:
    """What the classifier has at two positions, of the value that the larger network has."""
    if isinstance(placed, Place):
        return placed.windows(value)
    if isinstance(placed, tuple):
        return tuple(windows_of(p, v) for p, v in zip(placed, value, strict=True))
    return value


def joined(places: list[Place]) -> Place | None:
    """The place of what is computed from several maps, value by value; None where they do not lie alike."""
    first = places[0]
    if any(p.but(low=first.low, high=first.high, axes=first.axes) != first for p in places):
        return None
    low, high = ([p.low for p in places], [p.high for p in places])
    return first.but(
        low=(min(at[0] for at in low), min(at[1] for at in low)),
        high=(max(at[0] for at in high), max(at[1] for at in high)),
    )


def placed_like(native: Any, larger: Any, place: Place) -> Placed:
    """Where values lie that were computed from those at `place`, from their sizes for two sizes of image.

    Args:
        native: what the classifier has for two images of its own size; values are not read.
        larger: what the larger network has for one larger image.
        place: of the maps that went in.
    """
    if next(tensors_of(larger), None) is None:
        return None
    if not isinstance(larger, Tensor):
        return tuple(placed_like(n, v, place) for n, v in zip(native, larger, strict=True))
    if place.is_flat:
        return place if native.dim() == 2 and larger.dim() == 4 else None
    axes = [i for i, (a, b) in enumerate(zip(native.shape, larger.shape, strict=False)) if i and a != b]
    if native.dim() != larger.dim() or len(axes) != 2:
        return None
    size = (native.shape[axes[0]], native.shape[axes[1]])
    return place.but(axes=(axes[0], axes[1]), size=place.size if size == place.made else size)
