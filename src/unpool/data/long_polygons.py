"""Fills polygons pixel for pixel as COCO's tools do, in memory that does not grow with the length of their edges.

COCO walks along each edge in steps of a fifth of a pixel and notes where it passes the middle of a column; a pixel is
inside if an odd number of these crossings stand above it. Here the crossings of many edges are computed at once and
counted by pixel.

Source: `rleFrPoly` of pycocotools 2.0, common/maskApi.c.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_STEPS = 5  # of an edge in each pixel
_MIDDLE = 2  # the step of a column after which an edge is past its middle
_MOST = 1 << 18  # crossings that are computed at once


class _Edges(NamedTuple):
    """Edges with crossings, each walked along the axis on which it is longer, from its lower end on that axis.

    Attributes:
        x, y: where they start, in steps.
        slope: steps of the other axis for each step of the longer one.
        is_wide: whether x is the longer one.
        column: the first whose middle is crossed.
        amount: of crossings, one in each column from there on.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    slope: NDArray[np.float64]
    is_wide: NDArray[np.bool_]
    column: NDArray[np.int64]
    amount: NDArray[np.int64]

    def some(self, chosen: "NDArray[np.intp] | NDArray[np.bool_] | slice") -> "_Edges":
        return _Edges(
            self.x[chosen],
            self.y[chosen],
            self.slope[chosen],
            self.is_wide[chosen],
            self.column[chosen],
            self.amount[chosen],
        )


def fill_long_polygon(corners: NDArray[np.floating], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns (H, W), True inside the polygon; what lies inside an even number of times is outside.

    Args:
        corners: (N, 2) x, y, measured from the outer corner of the first pixel.
        size_hw: of the image; the polygon may reach beyond it.

    Example:
        >>> fill_long_polygon(np.array([[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]]), (3, 4)).astype(int).tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size_hw
    crossings = np.zeros(height * width + 1, np.int64)  # of those behind the image no pixel takes notice
    edges = _edges(corners, width)
    for some in _parts(edges, max(_MOST, height * width)):
        number = np.arange(some.amount[-1], dtype=np.int32)  # (most crossings of an edge of this part,)
        position = (_steps_of_wide if some.is_wide[0] else _steps_of_steep)(some, number)
        position += _STEPS - 1 - _MIDDLE
        position //= _STEPS  # the first row that is not above the crossing
        np.clip(position, 0, height, out=position)
        position += number * height
        position += (some.column * height)[:, None].astype(np.int32)
        least = some.amount[0]
        position[:, least:][number[least:] >= some.amount[:, None]] = height * width
        crossings += np.bincount(position.reshape(-1), minlength=len(crossings))
    return (crossings[:-1].cumsum() % 2 == 1).reshape(width, height).T


def _edges(corners: NDArray[np.floating], width: int) -> _Edges:
    """Returns the edges that cross the middle of a column: wide ones first, and of each kind those of few crossings."""
    start = (_STEPS * corners.astype(np.float64) + 0.5).astype(np.int64)
    end = np.roll(start, -1, axis=0)
    (dx, dy), index = np.abs(end - start).T, np.arange(len(start))
    is_wide = dx >= dy
    along = np.where(is_wide, 0, 1)
    is_turned = (start[index, along] > end[index, along])[:, None]
    start, end = np.where(is_turned, end, start), np.where(is_turned, start, end)
    over = end - start
    slope = over[index, 1 - along] / np.maximum(over[index, along], 1)
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    column = np.maximum(-(-(low - _MIDDLE) // _STEPS), 0)
    amount = np.minimum((high - _MIDDLE - 1) // _STEPS, width - 1) - column + 1
    edges = _Edges(start[:, 0], start[:, 1], slope, is_wide, column, amount).some(amount > 0)
    return edges.some(np.lexsort([edges.amount, ~edges.is_wide]))


def _parts(edges: _Edges, most: int) -> Iterator[_Edges]:
    """Gives edges of one kind with up to so many crossings together, or one edge."""
    first = 0
    while first < len(edges.amount):
        same = edges.is_wide[first:] == edges.is_wide[first]
        rest = edges.amount[first:][: int(np.count_nonzero(same))]
        size = rest * np.arange(1, len(rest) + 1)
        length = max(1, int(np.searchsorted(size, most)))
        yield edges.some(slice(first, first + length))
        first += length


def _steps_of_wide(edges: _Edges, number: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns (edges, crossings) y of each crossing, in steps: of the two steps beside it that of the higher one."""
    first = (_STEPS * edges.column + _MIDDLE - edges.x + (edges.slope < 0)).astype(np.float64)
    y = first[:, None] + _STEPS * number
    y *= edges.slope[:, None]
    y += edges.y[:, None]
    y += 0.5
    return y.astype(np.int32)


def _steps_of_steep(edges: _Edges, number: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns what `_steps_of_wide` does for edges that are walked along y."""
    x, slope = edges.x[:, None].astype(np.float64), edges.slope[:, None]
    past = (_STEPS * edges.column + _MIDDLE + 1.0)[:, None] + _STEPS * number
    step = np.rint((past - 0.5 - x) / slope)
    is_past = x + slope * step + 0.5 >= past  # as COCO rounds, which the quotient does not tell where it is whole
    step += is_past ^ (slope > 0)
    step += edges.y[:, None] - 1
    return step.astype(np.int32)
