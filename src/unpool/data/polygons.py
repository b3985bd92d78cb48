"""Fills polygons pixel for pixel as Pillow does, in time that grows with the rows that their edges cross.

Pillow compares each edge that ends in a row with all before it that end there, so that a polygon of a million corners
takes minutes. Here the crossings of a row are counted by pixel, not sorted, and edges are grouped by the pixel in which
they end.

Source: `polygon_generic` of Pillow 13.0.0, libImaging/Draw.c, for images of one byte a pixel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MOST = 1 << 18  # crossings that are computed at once: 20 MB


class _Edges(NamedTuple):
    """Edges that are not horizontal: from `low` to `high` in y, through (x, y), `slope` to the right in each row."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    slope: NDArray[np.float32]

    def at(self, number: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns where each of the numbered edges is in its row."""
        return (row - self.y[number]).astype(np.float32) * self.slope[number] + self.x[number]


def fill_polygon(corners: NDArray[np.floating], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns (H, W), True inside the polygon and on its edge; what lies inside an even number of times is outside.

    Args:
        corners: (N, 2) x, y, cut to whole pixels.
        size_hw: of the image; the polygon may reach beyond it.

    Example:
        >>> fill_polygon(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]), (3, 4)).astype(int).tolist()
        [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    """
    starts = np.trunc(corners).astype(np.int64)
    ends = np.roll(starts, -1, axis=0)
    if (starts[0] == starts[-1]).all():
        starts, ends = starts[:-1], ends[:-1]
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    is_level = low[:, 1] == high[:, 1]
    filled = _level(low[is_level, 1], low[is_level, 0], high[is_level, 0], size_hw=size_hw)
    if is_level.all():
        return filled
    last = min(int(high[:, 1].max()), size_hw[0])
    kept = (~is_level).nonzero()[0]
    kept = kept[_without_copies(np.concatenate([starts, ends], axis=1)[kept])]
    starts, ends, low, high = (points[kept] for points in (starts, ends, low, high))
    x, y = starts.astype(np.float32).T
    slope = (ends[:, 0] - x).astype(np.float32) / (ends[:, 1] - y).astype(np.float32)
    edges = _Edges(low[:, 1], high[:, 1], x, starts[:, 1], slope)
    for top, bottom in _bands(edges, min(last + 1, size_hw[0])):
        filled[top : bottom + 1] |= _inside(edges, top, bottom, last=last, width=size_hw[1])
    return filled


def _level(
    row: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64], *, size_hw: tuple[int, int]
) -> NDArray[np.bool_]:
    """Returns (H, W), True on horizontal edges."""
    height, width = size_hw
    first, last = first.clip(min=0), last.clip(max=width - 1)
    is_seen = (row >= 0) & (row < height) & (first <= last)
    row, first, last = row[is_seen], first[is_seen], last[is_seen]
    begun, ended = (
        np.bincount(row * (width + 1) + x, minlength=height * (width + 1)).reshape(height, width + 1)
        for x in (first, last + 1)
    )
    return (begun - ended).cumsum(1)[:, :width] > 0


def _without_copies(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns which rows to keep, in order: of equal ones up to three, an even number of them where they are even.

    Where edges cross a row, only whether their number is odd or even matters, and that it is not 0. The first of them
    that end in a pixel may lie apart from the others.
    """
    order = np.lexsort(edges.T)
    is_first = np.append(True, (np.diff(edges[order], axis=0) != 0).any(1))
    begins = is_first.nonzero()[0]
    counts = np.diff(begins, append=len(order))
    rank = np.arange(len(order)) - begins.repeat(counts)
    wanted = np.where(counts > 3, 2 + counts % 2, counts)
    return np.sort(order[rank < wanted.repeat(counts)])


def _bands(edges: _Edges, rows: int) -> list[tuple[int, int]]:
    """Returns first and last rows of bands that have up to `_MOST` crossings, or are one row."""
    first = max(0, int(edges.low.min()))
    if first >= rows:
        return []
    begun, ended = (np.bincount(y.clip(0, rows), minlength=rows + 1)[:rows] for y in (edges.low, edges.high + 1))
    bands, top, held = [], first, 0
    for row, count in enumerate((begun - ended).cumsum()[first:].tolist(), start=first):
        if row > top and held + count > _MOST:
            bands.append((top, row - 1))
            top, held = row, 0
        held += count
    return [*bands, (top, rows - 1)]


def _inside(edges: _Edges, top: int, bottom: int, *, last: int, width: int) -> NDArray[np.bool_]:
    """Returns (bottom - top + 1, W), True between the first and second, third and fourth, ... crossing of a row."""
    number = ((edges.low <= bottom) & (edges.high >= top)).nonzero()[0]
    first = np.maximum(edges.low[number], top)
    counts = np.minimum(edges.high[number], bottom) - first + 1
    row = first.repeat(counts) + np.arange(counts.sum()) - (counts.cumsum() - counts).repeat(counts)
    number = number.repeat(counts)
    x = _moved_at_corners(edges, number, row, last=last)
    is_end = (row == edges.high[number]) & (row < last)  # counts twice: it ends inside the row, and the next one begins
    # a column for each pixel, one for the border between two, on which a run begins behind and ends before, and two
    # for what is beside the image
    x[x == -0.5] = 0
    columns = 2 * width + 2
    column = (np.floor(x + np.float32(0.5)) + np.ceil(x - np.float32(0.5)) + 1).clip(0, columns - 1).astype(np.int64)
    position = (row - top) * columns + column
    size = (bottom - top + 1) * columns
    crossed = np.bincount(position, minlength=size) + np.bincount(position[is_end], minlength=size)
    crossed = crossed.reshape(-1, columns)
    is_odd = (crossed.sum(1) % 2).nonzero()[0]
    crossed[is_odd, columns - 1 - (crossed[is_odd, ::-1] > 0).argmax(1)] -= 1  # a last crossing alone begins nothing
    before = crossed.cumsum(1) - crossed
    return ((crossed > 0) | (before % 2 == 1))[:, 1 : 2 * width : 2]


def _moved_at_corners(
    edges: _Edges, number: NDArray[np.int64], row: NDArray[np.int64], *, last: int
) -> NDArray[np.float32]:
    """Returns where each edge is in its row.

    Of edges that end in one pixel, all but the first are moved to the pixel beside the one where both are in the next
    row, so that the tip of a flat corner has no gap.
    """
    x = edges.at(number, row)
    is_low = row == edges.low[number]
    is_tip = (is_low | ((row == edges.high[number]) & (row == last))) & (edges.slope[number] != 0)
    ending = is_tip.nonzero()[0]
    if not len(ending):
        return x
    pixel = _round(x[ending]).astype(np.int64)
    key = (2 * row[ending] + is_low[ending]) * (2 * int(np.abs(pixel).max()) + 1) + pixel
    order = key.argsort(kind="stable")
    is_first = np.diff(key[order], prepend=-1 + key[order[0]]) != 0
    first = ending[order][np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    one, other = ending[order][~is_first], first[~is_first]
    beside = row[one] + np.where(is_low[one], 1, -1)
    in_next_row = np.stack([edges.at(number[one], beside), edges.at(number[other], beside)])
    right, left = in_next_row.max(0), in_next_row.min(0)
    moved = np.where(x[one] < left - 1, _round(left) - 1, x[one])
    x[one] = np.where(x[one] > right + 1, _round(right) + 1, moved)
    return x


def _round(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the nearest whole numbers, of two the one farther from 0."""
    return np.copysign(np.floor(np.abs(x) + np.float32(0.5)), x)
