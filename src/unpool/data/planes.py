"""Scenes of textured planes seen twice, with the true motion of every pixel and what of it is hidden in the other view.

A plane is drawn from a continuous texture at the exact positions of each view, so that no pixel of one view is made of
pixels of the other. What is hidden is computed from the planes themselves, without rounding to pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Plane2d = NDArray[np.floating]
Mask = NDArray[np.bool_]

_CELLS = 64  # of a texture's table of random values, which repeats
_NEARER = 1e-3  # by which a plane must be nearer to hide another one
SHAPES = ("ellipse", "rectangle", "triangle")


class Texture(NamedTuple):
    """Two colours mixed by sums of random values between grid points.

    Attributes:
        tables: (levels, 64, 64) in 0..1.
        cells: pixels between the grid points of each level.
        shares: of each level; they add up to 1.
        colours: (2, 3) the ends of the mixture, in 0..255.
    """

    tables: Plane2d
    cells: tuple[float, ...]
    shares: tuple[float, ...]
    colours: Plane2d

    def at(self, x: Plane2d, y: Plane2d) -> Plane2d:
        """(..., 3) colours at positions of the first view."""
        total = np.zeros(x.shape, np.float32)
        for table, cell, share in zip(self.tables, self.cells, self.shares, strict=True):
            total += np.float32(share) * _interpolated(table, x / np.float32(cell), y / np.float32(cell))
        return self.colours[0] + total[..., None] * (self.colours[1] - self.colours[0])


class Plane(NamedTuple):
    """One textured plane.

    Attributes:
        shape: one of `SHAPES`, or "all" for a background without edges.
        centre: x, y in pixels of the first view.
        radii: half of the extent along its own two axes.
        angle: of its first axis, in radians.
        texture: what it shows.
        there: (2, 3) from a position in the first view to that in the second.
        nearness: (3,) of 1, x and y in the first view: the larger value hides the smaller one.
    """

    shape: str
    centre: tuple[float, float]
    radii: tuple[float, float]
    angle: float
    texture: Texture
    there: Plane2d
    nearness: tuple[float, float, float]

    @property
    def back(self) -> Plane2d:
        """(2, 3) from a position in the second view to that in the first."""
        whole = np.vstack([self.there.astype(np.float64), [0, 0, 1]])
        return np.linalg.inv(whole)[:2].astype(np.float32)

    def covers(self, x: Plane2d, y: Plane2d) -> Mask:
        """Whether it lies at positions of the first view."""
        if self.shape == "all":
            return np.ones(x.shape, bool)
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        u, v = (cos * dx + sin * dy) / np.float32(self.radii[0]), (cos * dy - sin * dx) / np.float32(self.radii[1])
        if self.shape == "ellipse":
            return u * u + v * v < 1
        if self.shape == "rectangle":
            return np.maximum(abs(u), abs(v)) < 0.85
        return (v < 0.7) & (2 * abs(u) < v + 1)

    def near(self, x: Plane2d, y: Plane2d) -> Plane2d:
        """Its nearness at positions of the first view."""
        constant, along_x, along_y = map(np.float32, self.nearness)
        return constant + along_x * x + along_y * y


class View(NamedTuple):
    """What one of the two views shows.

    Attributes:
        colours: (H, W, 3) in 0..255, without noise.
        motion: (H, W, 2) x and y from each pixel to its position in the other view.
        hidden: (H, W) what the other view does not show: behind a nearer plane, or beside its frame.
    """

    colours: Plane2d
    motion: Plane2d
    hidden: Mask


def see(planes: Sequence[Plane], size_hw: tuple[int, int], *, second: bool) -> View:
    """The first view of planes, or the second one.

    Args:
        planes: the first covers everything.
        size_hw: of both views.
        second: which view.

    Example:
        >>> flat = Texture(np.zeros((1, 64, 64), np.float32), (4.0,), (1.0,), np.zeros((2, 3), np.float32))
        >>> moved = np.array([[1, 0, 2], [0, 1, 0]], np.float32)
        >>> wall = Plane("all", (0, 0), (1, 1), 0.0, flat, moved, (0, 0, 0))
        >>> view = see([wall], (2, 4), second=False)
        >>> view.motion[0, 0].tolist(), view.hidden[0].tolist()
        ([2.0, 0.0], [False, False, True, True])
    """
    height, width = size_hw
    here_y, here_x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    owner, nearest, first_x, first_y = _front(planes, here_x, here_y, second=second)
    colours, there_x, there_y = np.zeros((*size_hw, 3), np.float32), here_x.copy(), here_y.copy()
    for number, plane in enumerate(planes):
        is_shown = owner == number
        x, y = first_x[is_shown], first_y[is_shown]
        colours[is_shown] = plane.texture.at(x, y)
        there_x[is_shown], there_y[is_shown] = (x, y) if second else moved(plane.there, x, y)
    _, front, _, _ = _front(planes, there_x, there_y, second=not second)
    beside = (there_x < -0.5) | (there_y < -0.5) | (there_x >= width - 0.5) | (there_y >= height - 0.5)
    hidden = beside | (front > nearest + np.float32(_NEARER))
    return View(colours, np.stack([there_x - here_x, there_y - here_y], axis=2), hidden)


def _front(
    planes: Sequence[Plane], x: Plane2d, y: Plane2d, *, second: bool
) -> tuple[NDArray[np.int64], Plane2d, Plane2d, Plane2d]:
    """Of positions in a view: the number of the plane in front, its nearness, and where that lies in the first view."""
    owner, nearest = np.zeros(x.shape, np.int64), np.full(x.shape, -np.inf, np.float32)
    first_x, first_y = x.copy(), y.copy()
    for number, plane in enumerate(planes):
        at_x, at_y = moved(plane.back, x, y) if second else (x, y)
        nearness = plane.near(at_x, at_y)
        wins = plane.covers(at_x, at_y) & (nearness > nearest)
        owner[wins], nearest[wins] = number, nearness[wins]
        first_x[wins], first_y[wins] = at_x[wins], at_y[wins]
    return owner, nearest, first_x, first_y


def moved(matrix: Plane2d, x: Plane2d, y: Plane2d) -> tuple[Plane2d, Plane2d]:
    """Positions under a (2, 3) map.

    Example:
        >>> one = np.ones(1, np.float32)
        >>> moved(np.array([[1, 0, 3], [0, 2, 0]], np.float32), one, one)
        (array([4.], dtype=float32), array([2.], dtype=float32))
    """
    (a, b, c), (d, e, f) = matrix
    return a * x + b * y + c, d * x + e * y + f


def draw_texture(rng: Generator, *, contrast: tuple[float, float] = (12.0, 160.0)) -> Texture:
    """A texture of two or three levels; `contrast` is the range of the distance between its colours, per channel."""
    levels = int(rng.integers(2, 4))
    cells = tuple(float(c) for c in np.exp(rng.uniform(np.log(1.6), np.log(14), levels)))
    shares = rng.dirichlet(np.full(levels, 2.0))
    distance = np.exp(rng.uniform(*np.log(contrast)))
    middle = rng.uniform(distance / 2, 255 - distance / 2, 3)
    towards = rng.choice([-1, 1]) * rng.uniform(0.4, 1, 3) * distance / 2
    colours = np.stack([middle - towards, middle + towards]).astype(np.float32)
    tables = rng.random((levels, _CELLS, _CELLS), dtype=np.float32)
    return Texture(tables, cells, tuple(float(s) for s in shares), colours)


def _interpolated(table: Plane2d, x: Plane2d, y: Plane2d) -> Plane2d:
    low_x, low_y = np.floor(x), np.floor(y)
    share_x, share_y = x - low_x, y - low_y
    left, top = low_x.astype(np.int32) % _CELLS, low_y.astype(np.int32) % _CELLS
    right, bottom = (left + 1) % _CELLS, (top + 1) % _CELLS
    upper = table[top, left] * (1 - share_x) + table[top, right] * share_x
    lower = table[bottom, left] * (1 - share_x) + table[bottom, right] * share_x
    return upper * (1 - share_y) + lower * share_y
