"""Coordinate maps as 3x3 matrices, and images, masks, points and boxes carried through them.

A map takes a position in the output to the position in the input that is seen there, so maps multiply in the order in
which they are applied: `first @ second`. Positions are (x, y) in pixels measured from the outer corner of the first
pixel, whose centre is (0.5, 0.5): a mirror is then `width - x`, and boxes need no correction. Keypoints are counted in
pixels whose first centre is (0, 0); `map_keypoints` does the half pixel.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

_EXACT = 1e-6  # pixels


def identity(batch: int) -> Tensor:
    """(B, 3, 3) float64 maps that change nothing."""
    return torch.eye(3, dtype=torch.float64).repeat(batch, 1, 1)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """(B, 3, 3): the output's corner lies at (x, y) of the input; x and y are (B,) pixels."""
    matrix = identity(len(x))
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


def zoom(x: Tensor, y: Tensor) -> Tensor:
    """(B, 3, 3): the output shows the input `x` times as wide and `y` times as high, both (B,)."""
    matrix = identity(len(x))
    matrix[:, 0, 0], matrix[:, 1, 1] = 1 / x, 1 / y
    return matrix


def rotation(angle_deg: Tensor, size_hw: Tensor) -> Tensor:
    """(B, 3, 3): turned counter-clockwise as seen on the screen, about the centre.

    Args:
        angle_deg: (B,) degrees.
        size_hw: (B, 2) size of the input and of the output.
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


def mirror(flipped: Tensor, width: Tensor) -> Tensor:
    """(B, 3, 3): left and right trade places where `flipped` (B,) says so; `width` (B,) is the input's."""
    matrix = identity(len(flipped))
    matrix[:, 0, 0] = torch.where(flipped, -1.0, 1.0)
    matrix[:, 0, 2] = torch.where(flipped, width.double(), 0.0)
    return matrix


def map_points(points: Tensor, matrix: Tensor) -> Tensor:
    """(..., 2) positions in the input -> where the output shows them; `matrix` is (3, 3)."""
    there = torch.linalg.inv(matrix.double())
    return (points.double() @ there[:2, :2].T + there[:2, 2]).to(points.dtype)


def map_keypoints(keypoints: Tensor, matrix: Tensor) -> Tensor:
    """(..., 2) pixel numbers in the input -> pixel numbers in the output; `matrix` is (3, 3)."""
    return map_points(keypoints.double() + 0.5, matrix).sub(0.5).to(keypoints.dtype)


def map_boxes(boxes_xyxy: Tensor, matrix: Tensor, *, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Boxes around the mapped corners, clipped to the output.

    Args:
        boxes_xyxy: (N, 4) in the input.
        matrix: (3, 3).
        size_hw: size of the output.

    Returns:
        (N, 4) boxes, and (N,) the share of each that lies within the output, 0 for those to be dropped.
    """
    x, y = boxes_xyxy.double()[:, 0::2], boxes_xyxy.double()[:, 1::2]
    corners = torch.stack((x[:, [0, 1, 0, 1]], y[:, [0, 0, 1, 1]]), dim=2)  # (N, 4, 2)
    corners = map_points(corners, matrix)
    whole = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    limit = torch.tensor([size_hw[1], size_hw[0]] * 2, dtype=torch.float64)
    clipped = torch.minimum(whole.clamp(min=0), limit)
    area, seen = ((b[:, 2:] - b[:, :2]).prod(1) for b in (whole, clipped))
    share = torch.where(area > 0, seen / area.clamp(min=1e-12), 0.0)
    return clipped.to(boxes_xyxy.dtype), share


def warp(
    image: Tensor,
    matrix: Tensor,
    size_hw: tuple[int, int],
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    fill: Tensor | float = 0.0,
) -> Tensor:
    """What the maps show of the images.

    Positions between the centre of a border pixel and its outer edge take the border pixel; those beyond the edge take
    `fill`. Where a map shrinks its image, the image is first averaged to about that scale, as in
    `Preprocessing.resize`.

    Args:
        image: (C, H, W) or (B, C, H, W), uint8 or float32.
        matrix: (3, 3) or (B, 3, 3), output to input.
        size_hw: size of the output.
        mode: "bilinear" for pictures, "nearest" for classes.
        fill: value outside of the image, or (C,) one a channel.

    Returns:
        (C, H, W) or (B, C, H, W) of the image's type.
    """
    if image.dim() == 3:
        return warp(image[None], matrix[None], size_hw, mode=mode, fill=fill)[0]
    filling = torch.as_tensor(fill, dtype=torch.float32).expand(image.shape[1])
    if _moves_whole_pixels(matrix):
        return _slice(image, matrix, size_hw, fill=filling)
    shrinks = mode == "bilinear" and bool((_shrinking(matrix) > _SHARP).any())
    if len(image) > 1 and (shrinks or image[0].numel() > _LARGE):
        parts = [warp(image[i : i + 1], matrix[i : i + 1], size_hw, mode=mode, fill=fill) for i in range(len(image))]
        return torch.cat(parts)
    if shrinks:
        image, matrix = _shrink(image, matrix)
        return warp(image, matrix, size_hw, mode=mode, fill=fill)
    result = _sample(image, matrix, size_hw, mode=mode)
    beyond = outside(matrix, (image.shape[-2], image.shape[-1]), size_hw)
    if beyond is not None:
        result = torch.where(beyond[:, None], filling.view(-1, 1, 1), result)
    return result if image.dtype == torch.float32 else result.add_(0.5).clamp_(0, 255).to(image.dtype)


_LARGE = (
    3 * 128 * 128
)  # values of an image from which on one warp an image is faster than one a batch: it stays in cache
_SHARP = 1.2  # a map that shrinks less than this reads single pixels without visible jags


def outside(matrix: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor | None:
    """(B, H, W) bool: pixels of the output that show nothing of the input; None where all show something."""
    height, width = input_hw
    x, y = _positions(matrix, size_hw, corners=True)
    if bool((x.amin() >= 0) & (y.amin() >= 0) & (x.amax() <= width) & (y.amax() <= height)):
        return None
    x, y = _positions(matrix, size_hw)
    return (x < 0) | (y < 0) | (x >= width) | (y >= height)


def _positions(matrix: Tensor, size_hw: tuple[int, int], *, corners: bool = False) -> tuple[Tensor, Tensor]:
    """Input positions (x, y) of the output's pixel centres, (B, H, W) each, or of those in the corners only."""
    height, width = size_hw
    m = matrix.to(torch.float32)[:, :2, :, None, None]  # (B, 2, 3, 1, 1)
    x = torch.arange(width, dtype=torch.float32).add_(0.5)[None, None, :]
    y = torch.arange(height, dtype=torch.float32).add_(0.5)[None, :, None]
    if corners:
        x, y = x[:, :, [0, -1]], y[:, [0, -1]]
    return tuple((m[:, i, 0] * x + m[:, i, 2]) + m[:, i, 1] * y for i in (0, 1))  # pyright: ignore[reportReturnType]


def _sample(image: Tensor, matrix: Tensor, size_hw: tuple[int, int], *, mode: str) -> Tensor:
    height, width = image.shape[-2:]
    unit = torch.tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]], dtype=torch.float64)
    grid = torch.stack(_positions(unit @ matrix.double(), size_hw), dim=-1)  # (B, H, W, 2) in -1..1
    return nn.functional.grid_sample(image.float(), grid, mode=mode, padding_mode="border", align_corners=False)


def _shrinking(matrix: Tensor) -> Tensor:
    """(B, 2): input pixels a pixel of the output steps over, in x and in y of the input."""
    return matrix[:, :2, :2].norm(dim=2)


def _shrink(image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The image of one map at about the map's own scale, and the map from there."""
    factor_x, factor_y = (max(1.0, f) for f in _shrinking(matrix)[0].tolist())
    height, width = image.shape[-2:]
    small = math.ceil(height / factor_y - _EXACT), math.ceil(width / factor_x - _EXACT)
    image = nn.functional.interpolate(image, small, mode="bilinear", antialias=True)
    scale = torch.tensor([small[1] / width, small[0] / height, 1.0], dtype=torch.float64)
    return image, scale[:, None] * matrix


def _moves_whole_pixels(matrix: Tensor) -> bool:
    linear, offset = matrix[:, :2, :2], matrix[:, :2, 2]
    upright = (linear.abs() - torch.eye(2, dtype=matrix.dtype)).abs().amax() < _EXACT
    return bool(upright & ((offset - offset.round()).abs().amax() < _EXACT))


def _slice(image: Tensor, matrix: Tensor, size_hw: tuple[int, int], *, fill: Tensor) -> Tensor:
    """Shifts and mirrors as plain copies: the same pixels as sampling gives, many times faster."""
    source = image.numpy()
    result = fill.to(image.dtype).view(-1, 1, 1).expand(len(image), -1, *size_hw).contiguous()
    target = result.numpy()
    height, width = source.shape[-2:]
    for i, ((sx, _, tx), (_, sy, ty), _) in enumerate(matrix.tolist()):
        to_y, from_y = _overlap(sy, ty, height, size_hw[0])
        to_x, from_x = _overlap(sx, tx, width, size_hw[1])
        target[i, :, to_y, to_x] = source[i, :, from_y, from_x]
    return result


def _overlap(sign: float, offset: float, length: int, shown: int) -> tuple[slice, slice]:
    """Which of `shown` output pixels show input pixels, and which ones, along one axis."""
    shift = round(offset)
    if sign > 0:
        first, last = max(0, -shift), max(0, -shift, min(shown, length - shift))
        return slice(first, last), slice(first + shift, last + shift)
    first, last = max(0, shift - length), max(0, shift - length, min(shown, shift))
    stop = shift - last - 1
    return slice(first, last), slice(shift - first - 1, stop if stop >= 0 else None, -1)
