"""Maps that bend: a smooth displacement between matrices, for elastic deformation and for the distortion of a lens.

As in `ops.geometry`, a map leads from a position in the output to that of the input which is shown there, in pixels
from the outer corner of the first one. A picture needs nothing else. Points
and boxes go the other way, by the inverse of a displacement, which is computed to `_NEAR` pixels: p = q - d(p) is
repeated, and nears the one solution, since a field never moves two positions to one (`unfolded`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

STEEPEST = 0.8  # of a field: pixels by which the displacements of two positions one pixel apart may differ
NODES = 65  # most nodes along a side of a field that is smooth over some of them
_NEAR = 1e-4  # pixels
_MOST = 200  # repetitions: 0.8 to the power of 200 is 4e-20


class Field(NamedTuple):
    """Displacements of the positions of an image.

    Attributes:
        displacement: (2, h, w) float64: x and y in pixels at nodes evenly spaced from edge to edge, linear between
            them; beyond the image as at its edge.
        size_hw: (2,) float64 size of the image.
    """

    displacement: Tensor
    size_hw: Tensor

    def at(self, points: Tensor) -> Tensor:
        """(N, 2) displacements at positions (N, 2)."""
        unit = points * (2 / self.size_hw.flip(0)).to(points.dtype) - 1
        field = self.displacement.to(points.dtype)[None]
        moved = nn.functional.grid_sample(field, unit[None, None], padding_mode="border", align_corners=True)
        return moved[0, :, 0].T


class Bent(NamedTuple):
    """The map of one image from the output to the input: `last`, then of each part its field and its matrix.

    Attributes:
        parts: (matrix (3, 3), field), the one next to the input first.
        last: (3, 3), from the output.
    """

    parts: tuple[tuple[Tensor, Field], ...]
    last: Tensor

    @property
    def matrix(self) -> Tensor:
        """(3, 3): the map without its fields, which neither mirror nor, by and large, resize."""
        total = self.last
        for matrix, _ in reversed(self.parts):
            total = matrix @ total
        return total

    def scaled(self, scale: Tensor) -> "Bent":
        """The same map from an input that is resized by `scale` (2,), in x and y."""
        (matrix, field), *others = self.parts
        resized = torch.cat((scale, scale.new_ones(1)))[:, None] * matrix
        return Bent(((resized, field), *others), self.last)

    def to_input(self, points: Tensor) -> Tensor:
        """Positions (N, 2) of the output in the input."""
        points = _applied(self.last, points)
        for matrix, field in reversed(self.parts):
            points = _applied(matrix, points + field.at(points))
        return points

    def to_output(self, points: Tensor) -> Tensor:
        """Positions (N, 2) of the input in the output; the inverse of `to_input`."""
        for matrix, field in self.parts:
            points = _undisplaced(field, _applied(torch.linalg.inv(matrix), points))
        return _applied(torch.linalg.inv(self.last), points)


Map = Tensor | Bent  # of one image


def linear(matrix: Map) -> Tensor:
    """(2, 2): how a map turns, mirrors and resizes, without the fields of one that bends.

    Example:
        >>> linear(torch.tensor([[0.0, -1.0, 7.0], [1.0, 0.0, 9.0], [0.0, 0.0, 1.0]]))
        tensor([[ 0., -1.],
                [ 1.,  0.]])
    """
    return (matrix.matrix if isinstance(matrix, Bent) else matrix)[:2, :2]


def unfolded(displacement: Tensor, size_hw: Tensor) -> Field:
    """The field, all of it made smaller where it is steeper than `STEEPEST`, so that it never folds.

    Two positions then keep at least a fifth of their distance, whatever was drawn.

    Args:
        displacement: (2, h, w) float64, see `Field`.
        size_hw: (2,) float64 size of the image.

    Example:
        >>> pulled = torch.tensor([[[0.0, 8.0], [0.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]])  # by 8 pixels within 4
        >>> unfolded(pulled, torch.tensor([4.0, 4.0])).displacement[0]
        tensor([[0.0000, 3.2000],
                [0.0000, 3.2000]])
    """
    spacing = size_hw / (torch.tensor(displacement.shape[1:]) - 1)
    across = (displacement.diff(dim=2) / spacing[1]).square().sum(0)  # (h, w - 1)
    down = (displacement.diff(dim=1) / spacing[0]).square().sum(0)  # (h - 1, w)
    # within a cell either slope lies between those of its two sides
    steepest = torch.maximum(across[1:], across[:-1]) + torch.maximum(down[:, 1:], down[:, :-1])
    largest = float(steepest.max().sqrt())
    return Field(displacement * min(1.0, STEEPEST / max(largest, 1e-12)), size_hw)


def coarse(values: Tensor, size_hw: Tensor) -> Field:
    """The field of displacements at a coarse grid, by bicubic interpolation.

    Args:
        values: (2, n, m) float64 x and y in pixels, the outer ones on the edges of the image.
        size_hw: (2,) float64 size of the image.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, section 3.1.

    Example:
        >>> values = torch.tensor([[[0.0, 0.0], [2.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
        >>> coarse(values, torch.tensor([20.0, 20.0])).at(torch.tensor([[3.0, 20.0], [3.0, 10.0]])).round(decimals=3)
        tensor([[2., 0.],
                [1., 0.]])
    """
    nodes = [min(NODES, int(side) + 1) for side in size_hw.tolist()]
    smooth = nn.functional.interpolate(values[None], nodes, mode="bicubic", align_corners=True)[0]
    return unfolded(smooth, size_hw)


def radial(strength: float, size_hw: Tensor) -> Field:
    """The field of a lens: positions at r times half the diagonal move outwards by `strength` * r**2 of their distance.

    Example:
        >>> radial(0.1, torch.tensor([60.0, 80.0])).at(torch.tensor([[80.0, 60.0], [40.0, 30.0]]))
        tensor([[4., 3.],
                [0., 0.]])
    """
    height, width = size_hw.tolist()
    ends = ((height, min(NODES, int(height) + 1)), (width, min(NODES, int(width) + 1)))
    y, x = (torch.linspace(-side / 2, side / 2, count, dtype=size_hw.dtype) for side, count in ends)
    y, x = torch.meshgrid(y, x, indexing="ij")
    square = (x.square() + y.square()) / ((height / 2) ** 2 + (width / 2) ** 2)
    return unfolded(strength * square * torch.stack((x, y)), size_hw)


def blurred(noise: Tensor, sigma: float) -> Tensor:
    """Returns fields (2, h, w) averaged by a Gaussian of deviation `sigma`; beyond their edges there is 0.

    Example:
        >>> blurred(torch.ones(1, 9, 9), 1.0)[0, 4, [0, 4]]  # of a corner's row, half lies beyond
        tensor([0.6995, 1.0000])
    """
    reach = int(4 * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=noise.dtype) / sigma).square())
    weights = weights / weights.sum()
    rows = nn.functional.conv2d(noise[:, None], weights.view(1, 1, 1, -1), padding=(0, reach))
    return nn.functional.conv2d(rows, weights.view(1, 1, -1, 1), padding=(reach, 0))[:, 0]


def _applied(matrix: Tensor, points: Tensor) -> Tensor:
    there = matrix.to(points.dtype)
    return points @ there[:2, :2].T + there[:2, 2]


def _undisplaced(field: Field, points: Tensor) -> Tensor:
    """The positions (N, 2) that the field moves to `points`."""
    if not len(points):
        return points
    guess = points - field.at(points)
    for _ in range(_MOST):
        before, guess = guess, points - field.at(guess)
        if float((guess - before).nan_to_num(0.0).abs().max()) < _NEAR * (1 - STEEPEST):
            break
    return guess
