"""Where the classifier's maps lie in the maps of the sliding network.

A map of the classifier, computed for an image of its input size, is a window of the larger map. At position (i, j) of
the scores the window starts i rows and j columns further. A vector is a window of 1x1.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unpool.tracing.recorder import tensors_of

Pair = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class WindowLayout:
    """How a larger map holds a map of the classifier.

    Attributes:
        size: rows and columns of the window.
        stride: pixels of the image between neighbours of the map.
        low, high: the first and last row and column that the image must have for the map's first value to read no
            padding; `low` is never above 0.
        spacing: rows and columns of the map between neighbours of the window.
        axes: which axes of the map are rows and columns.
        is_flat: the classifier has the window as one vector, (B, features).
        is_channels_last: that vector runs over (rows, columns, channels) instead of (channels, rows, columns).
        averaged_to: rows and columns to which the classifier averages the window; None where it does not.
        squeezed: rows (0) or columns (1) of one position that the classifier has not as an axis.
        is_joined: the classifier has rows and columns as one axis, (B, C, H * W) or (B, H * W, C).
    """

    size: Pair
    stride: Pair
    low: Pair
    high: Pair
    spacing: Pair = (1, 1)
    axes: Pair = (2, 3)
    is_flat: bool = False
    is_channels_last: bool = False
    averaged_to: Pair | None = None
    squeezed: tuple[int, ...] = ()
    is_joined: bool = False

    def two_windows(self, larger: Tensor) -> Tensor:
        """Cuts the upper right and the lower left window out of a map (1, ...), in the classifier's form: (2, ...)."""
        reach = [(n - 1) * d for n, d in zip(self.size, self.spacing, strict=True)]
        last = [larger.shape[axis] - 1 - far for axis, far in zip(self.axes, reach, strict=True)]
        return torch.cat([self._window(larger, start, reach) for start in ((0, last[1]), (last[0], 0))])

    def _window(self, larger: Tensor, start: Pair, reach: list[int]) -> Tensor:
        index = [slice(None)] * larger.dim()
        for axis, first, far, step in zip(self.axes, start, reach, self.spacing, strict=True):
            index[axis] = slice(first, first + far + 1, step)
        window = larger[tuple(index)]
        if self.averaged_to is not None:
            window = nn.functional.adaptive_avg_pool2d(window, self.averaged_to)
        if not self.is_flat:
            return self.squeeze(window)
        return (window.permute(0, 2, 3, 1) if self.is_channels_last else window).flatten(1)

    def squeeze(self, window: Tensor) -> Tensor:
        """Drops the axes of rows and columns that the classifier's map has not, and makes them one where it does."""
        for axis in sorted((self.axes[i] for i in self.squeezed), reverse=True):
            window = window.squeeze(axis)
        return window.flatten(*self.axes) if self.is_joined else window

    def without_lost_axes(self) -> "WindowLayout":
        """The layout; that of a vector where rows and columns were both dropped."""
        return replace(self, squeezed=(), is_flat=True, axes=(2, 3)) if len(self.squeezed) == 2 else self

    def through_kernel(
        self,
        kernel: Pair,
        *,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        padding: Pair = (0, 0),
        dropped: Pair = (0, 0),
    ) -> "WindowLayout":
        """The layout with stride, low and high of a convolution's output.

        Args:
            kernel: rows and columns of the convolution's.
            stride: of the convolution.
            dilation: of the convolution.
            padding: rows above and columns at the left; negative where these are left out.
            dropped: rows below and columns at the right that are left out, so that what follows pads in their stead.
        """
        axes = list(zip(self.stride, self.low, self.high, kernel, stride, dilation, padding, dropped, strict=True))
        steps = [jump * step for jump, _, _, _, step, *_ in axes]
        low = [min(0, at - pad * jump) for jump, at, *_, pad, _ in axes]
        high = [at + (d * (k - 1) - pad + last) * jump for jump, _, at, k, _, d, pad, last in axes]
        return replace(self, stride=(steps[0], steps[1]), low=(low[0], low[1]), high=(high[0], high[1]))


Layouts = WindowLayout | tuple["Layouts", ...] | None  # tuples where an operation returns several maps


def two_windows(layouts: Layouts, larger: Any) -> Any:
    """`WindowLayout.two_windows` of each map among the values of the larger network; other values as they are."""
    if isinstance(layouts, WindowLayout):
        return layouts.two_windows(larger)
    if isinstance(layouts, tuple):
        return tuple(two_windows(one, value) for one, value in zip(layouts, larger, strict=True))
    return larger


def common_layout(layouts: list[WindowLayout]) -> WindowLayout | None:
    """The layout of what is computed from several maps, value by value; None where their layouts do not fit."""
    first = layouts[0]
    if any(replace(one, low=first.low, high=first.high, axes=first.axes) != first for one in layouts):
        return None
    low, high = ([one.low for one in layouts], [one.high for one in layouts])
    return replace(
        first,
        low=(min(at[0] for at in low), min(at[1] for at in low)),
        high=(max(at[0] for at in high), max(at[1] for at in high)),
    )


def layout_of_output(native: Any, larger: Any, layout: WindowLayout) -> Layouts:
    """The layout of an operation's output, from its shapes for two sizes of image.

    Args:
        native: the output of the classifier, for two images of its input size; values are not read.
        larger: the output of the larger network, for one larger image.
        layout: of the input maps.
    """
    if next(tensors_of(larger), None) is None:
        return None
    if not isinstance(larger, Tensor):
        return tuple(layout_of_output(n, v, layout) for n, v in zip(native, larger, strict=True))
    if layout.is_flat or layout.squeezed or layout.is_joined:
        return layout if native.dim() == (2 if layout.is_flat else 3) and larger.dim() == 4 else None
    axes = [i for i, (a, b) in enumerate(zip(native.shape, larger.shape, strict=False)) if i and a != b]
    if native.dim() != larger.dim() or len(axes) != 2:
        return None
    size = (native.shape[axes[0]], native.shape[axes[1]])
    return replace(layout, axes=(axes[0], axes[1]), size=layout.size if size == layout.averaged_to else size)
