"""Coordinate maps as 3x3 matrices, and their application to points and boxes; `ops.resampling` applies them to images.

A map is a matrix from a position in the output to the position in the input that is shown there, so that maps multiply
in the order in which they are applied: `first @ second`. Positions are (x, y) in pixels from the outer corner of the
first pixel, whose centre is (0.5, 0.5): a mirror is then `width - x`, and boxes need no correction. Keypoints are in
pixels from the centre of the first pixel; `map_keypoints` adds and subtracts the half pixel. What takes the map of one
image also takes one that bends, see `ops.bending`.
"""

import torch
from torch import Tensor

from unpool.ops.bending import Bent, Map

_ALONG_SIDE = 16  # steps along the side of a box that a map may bend


def identity(batch: int) -> Tensor:
    """Returns maps (B, 3, 3) float64 that change nothing.

    Example:
        >>> map_points(torch.tensor([3.0, 4.0]), identity(1)[0])
        tensor([3., 4.])
    """
    return torch.eye(3, dtype=torch.float64).repeat(batch, 1, 1)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Returns maps (B, 3, 3) that shift: the output's corner is at (x, y) of the input; x and y are (B,) pixels.

    Example:
        >>> map_points(torch.tensor([3.0, 4.0]), translation(torch.tensor([2.0]), torch.tensor([1.0]))[0])
        tensor([1., 3.])
    """
    matrix = identity(len(x))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def zoom(x: Tensor, y: Tensor) -> Tensor:
    """Returns maps (B, 3, 3) that scale: the output is the input `x` times as wide and `y` times as high, both (B,).

    Example:
        >>> map_points(torch.tensor([3.0, 4.0]), zoom(torch.tensor([2.0]), torch.tensor([0.5]))[0])
        tensor([6., 2.])
    """
    matrix = identity(len(x))
    matrix[:, 0, 0], matrix[:, 1, 1] = 1 / x, 1 / y
    return matrix


def rotation(angle_deg: Tensor, size_hw: Tensor) -> Tensor:
    """Returns maps (B, 3, 3) that rotate counter-clockwise, as seen on the screen, about the centre.

    Args:
        angle_deg: (B,) degrees.
        size_hw: (B, 2) size of the input and of the output.

    Example:
        >>> quarter = rotation(torch.tensor([90.0]), torch.tensor([[10, 10]]))[0]
        >>> map_points(torch.tensor([10.0, 5.0]), quarter)  # right middle goes to top middle
        tensor([5., 0.])
    """
    angle = torch.deg2rad(angle_deg.double())
    cos, sin = torch.cos(angle), torch.sin(angle)
    y, x = size_hw.double().unbind(1)
    matrix = identity(len(angle))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos
    matrix[:, 0, 2] = (x - cos * x + sin * y) / 2
    matrix[:, 1, 2] = (y - sin * x - cos * y) / 2
    return matrix


def shear(angle_deg: Tensor, size_hw: Tensor) -> Tensor:
    """Returns maps (B, 3, 3) that lean what is upright to the right, by `angle_deg` (B,), about the centre.

    Args:
        angle_deg: (B,) degrees, below 90.
        size_hw: (B, 2) size of the input and of the output.

    Example:
        >>> lean = shear(torch.tensor([45.0]), torch.tensor([[10, 10]]))[0]
        >>> map_points(torch.tensor([[5.0, 5.0], [5.0, 0.0]]), lean)  # the centre stays, top middle goes to top right
        tensor([[ 5.,  5.],
                [10.,  0.]])
    """
    matrix = identity(len(angle_deg))
    matrix[:, 0, 1] = torch.tan(torch.deg2rad(angle_deg.double()))
    matrix[:, 0, 2] = -matrix[:, 0, 1] * size_hw[:, 0].double() / 2
    return matrix


def mirror(flipped: Tensor, width: Tensor) -> Tensor:
    """Returns maps (B, 3, 3) that exchange left and right where `flipped` (B,) is True; `width` (B,) is the input's.

    Example:
        >>> map_points(torch.tensor([2.0, 4.0]), mirror(torch.tensor([True]), torch.tensor([10]))[0])
        tensor([8., 4.])
    """
    matrix = identity(len(flipped))
    matrix[:, 0, 0] = torch.where(flipped, -1.0, 1.0)
    matrix[:, 0, 2] = torch.where(flipped, width.double(), 0.0)
    return matrix


def map_points(points: Tensor, matrix: Map) -> Tensor:
    """Maps positions (..., 2) in the input to positions in the output; `matrix` is (3, 3), or a map that bends.

    Example:
        >>> map_points(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), translation(torch.tensor([1.0]), torch.tensor([0.0]))[0])
        tensor([[ 2.,  4.],
                [-1.,  0.]])
    """
    if isinstance(matrix, Bent):
        return matrix.to_output(points.double().reshape(-1, 2)).reshape(points.shape).to(points.dtype)
    there = torch.linalg.inv(matrix.double())
    return (points.double() @ there[:2, :2].T + there[:2, 2]).to(points.dtype)


def map_keypoints(keypoints: Tensor, matrix: Map) -> Tensor:
    """Maps keypoints (..., 2), in pixels from the centre of the first one, to the output, as `map_points` does.

    Example:
        >>> map_keypoints(torch.tensor([0.0, 4.0]), mirror(torch.tensor([True]), torch.tensor([10]))[0])
        tensor([9., 4.])
    """
    return map_points(keypoints.double() + 0.5, matrix).sub(0.5).to(keypoints.dtype)


def map_boxes(boxes_xyxy: Tensor, matrix: Map, *, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Maps boxes: returns those around the mapped corners, where a map bends around the sides, clipped to the output.

    A box without extent stays without: the corners of a line that turns have one, and no thing shows there.

    Args:
        boxes_xyxy: (N, 4) in the input.
        matrix: (3, 3), or a map that bends.
        size_hw: size of the output.

    Returns:
        (N, 4) boxes, and (N,) the share of each that is inside the output, 0 for boxes to be dropped.

    Example:
        >>> left = translation(torch.tensor([2.0]), torch.tensor([0.0]))[0]
        >>> map_boxes(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), left, size_hw=(8, 8))
        (tensor([[0., 0., 2., 4.]]), tensor([0.5000], dtype=torch.float64))
    """
    x, y = boxes_xyxy.double()[:, 0::2], boxes_xyxy.double()[:, 1::2]
    corners = torch.stack((x[:, [0, 1, 0, 1]], y[:, [0, 0, 1, 1]]), dim=2)  # (N, 4, 2)
    corners = map_points(_along_sides(corners) if isinstance(matrix, Bent) else corners, matrix)
    low, high = corners.amin(1), corners.amax(1)
    has_extent = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(1, keepdim=True)
    whole = torch.cat((low, torch.where(has_extent, high, low)), dim=1)
    limit = torch.tensor([size_hw[1], size_hw[0]] * 2, dtype=torch.float64)
    clipped = torch.minimum(whole.clamp(min=0), limit)
    area, seen = ((b[:, 2:] - b[:, :2]).prod(1) for b in (whole, clipped))
    share = torch.where(area > 0, seen / area.clamp(min=1e-12), 0.0)
    return clipped.to(boxes_xyxy.dtype), share


def _along_sides(corners: Tensor) -> Tensor:
    """(N, P, 2) positions on the sides of boxes, from their corners (N, 4, 2), the second and third not neighbours."""
    share = torch.linspace(0, 1, _ALONG_SIDE + 1, dtype=corners.dtype)[:, None]
    pairs = ((0, 1), (2, 3), (0, 2), (1, 3))
    return torch.cat([corners[:, None, a].lerp(corners[:, None, b], share) for a, b in pairs], dim=1)
