"""Images resized, cut out, and continued by mirroring."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

LARGE = 100_000_000  # pixels of an image of which no copy in floating point is made
BAND = 2**24  # pixels of it that are computed with at once


class Frame(NamedTuple):
    """A rectangle of whole pixels, which may reach beyond the image."""

    left: int
    top: int
    height: int
    width: int


def square_around(box_xyxy: Sequence[float], scale: float) -> Frame:
    """The square about the middle of the box whose side is `scale` times the box's longer side, at least 8 pixels.

    >>> square_around((10.0, 20.0, 50.0, 40.0), 1.5)
    Frame(left=0, top=0, height=60, width=60)
    """
    left, top, right, bottom = box_xyxy
    side = max(8, math.ceil(scale * max(right - left, bottom - top)))
    return Frame(round((left + right - side) / 2), round((top + bottom - side) / 2), side, side)


def cut(image: Tensor, frame: Frame, fill: Tensor) -> Tensor:
    """(..., C, h, w) -> (..., C, frame.height, frame.width).

    Args:
        image: of any type.
        frame: what is cut out.
        fill: (C,) value of the pixels beyond the image.

    >>> cut(torch.ones(1, 2, 2), Frame(left=1, top=0, height=2, width=3), torch.zeros(1)).tolist()
    [[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    left, top, height, width = frame
    if (left, top, height, width) == (0, 0, *image.shape[-2:]):
        return image
    fill = fill.to(image.device, image.dtype)[:, None, None]
    result = fill.expand(*image.shape[:-2], height, width).clone()
    rows = slice(max(0, -top), min(height, image.shape[-2] - top))
    columns = slice(max(0, -left), min(width, image.shape[-1] - left))
    if rows.start < rows.stop and columns.start < columns.stop:
        source = image[..., rows.start + top : rows.stop + top, columns.start + left : columns.stop + left]
        result[..., rows, columns] = source
    return result


def resize_to(image: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(..., C, h, w) uint8 -> (..., C, *size_hw) uint8, bilinear, averaged where it shrinks.

    An image of more than `LARGE` pixels is resized in bands, see `resized_part`, so that no second image of its size is
    needed.

    >>> resize_to(torch.tensor([[[0, 0, 200, 200]]], dtype=torch.uint8), (1, 2)).shape
    torch.Size([1, 1, 2])
    """
    if tuple(image.shape[-2:]) == size_hw:
        return image
    height, width = image.shape[-2:]
    if height * width > LARGE:
        rows = max(1, size_hw[0] * BAND // (height * width))
        frames = [Frame(0, top, min(rows, size_hw[0] - top), size_hw[1]) for top in range(0, size_hw[0], rows)]
        return torch.cat([resized_part(image, size_hw, frame) for frame in frames], dim=-2)
    flat = averaged(image.reshape(-1, *image.shape[-3:]).float(), size_hw)
    return flat.round().clamp(0, 255).to(torch.uint8).reshape(*image.shape[:-2], *size_hw)


def averaged(images: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size_hw), bilinear, averaged where it shrinks.

    Torch 2.15 fills a result of one column with the first value of it; it is made as one row instead.

    >>> averaged(torch.tensor([[[[0.0], [8.0]]]]), (4, 1)).flatten().tolist()
    [0.0, 2.0, 6.0, 8.0]
    """
    if size_hw[1] == 1:
        return nn.functional.interpolate(images.mT, (1, size_hw[0]), mode="bilinear", antialias=True).mT
    return nn.functional.interpolate(images, size_hw, mode="bilinear", antialias=True)


def resized_part(image: Tensor, size_hw: tuple[int, int], frame: Frame) -> Tensor:
    """What `cut(resize_to(image, size_hw), frame)` gives, up to one level, without making the rest of it.

    Memory is that of the part and of the pixels under it, however large `size_hw` is. The order of additions differs
    from torch's, so that a value half-way between two levels may be rounded to the other.

    Args:
        image: (..., C, h, w) uint8.
        size_hw: to which all of it would be resized.
        frame: the part of that, within `size_hw`.

    >>> strip = torch.tensor([[[0, 0, 200, 200]]], dtype=torch.uint8)
    >>> resized_part(strip, (2, 8), Frame(left=2, top=0, height=2, width=4)).tolist()
    [[[0, 50, 150, 200], [0, 50, 150, 200]]]
    """
    left, top, height, width = frame
    rows, down = _shares(image.shape[-2], size_hw[0], top, count=height)
    columns, across = _shares(image.shape[-1], size_hw[1], left, count=width)
    part = image[..., rows, columns].float()
    resized = down.to(image.device) @ (part @ across.to(image.device).T)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _shares(size: int, resized: int, first: int, *, count: int) -> tuple[slice, Tensor]:
    """The pixels of an axis that `count` pixels from `first` of it resized are made of, and (count, pixels) shares."""
    scale = size / resized
    reach = max(scale, 1.0)
    centres = (torch.arange(first, first + count, dtype=torch.float64) + 0.5) * scale
    begin, end = max(0, int(centres[0] - reach)), min(size, int(centres[-1] + reach) + 1)
    pixels = torch.arange(begin, end, dtype=torch.float64) + 0.5
    shares = (1 - (pixels - centres[:, None]).abs() / reach).clamp_min(0)
    return slice(begin, end), (shares / shares.sum(1, keepdim=True)).float()


def mirror_index(size: int, before: int, after: int, *, device: torch.device) -> Tensor:
    """(before + size + after,) int64: which row to take at each position to mirror rows 0 to size - 1 at both ends.

    The border row itself is not repeated; where `before` or `after` exceeds the rows, the mirroring goes on.

    >>> mirror_index(3, 1, 3, device=torch.device("cpu")).tolist()
    [1, 0, 1, 2, 1, 0, 1]
    """
    period = max(2 * size - 2, 1)
    index = torch.arange(-before, size + after, device=device) % period
    return torch.minimum(index, period - index) if size > 1 else torch.zeros_like(index)


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """(..., h, w) -> (..., H, W): mirrored at the bottom and right until both sides are multiples.

    >>> pad_to_multiple(torch.tensor([[1, 2, 3]]), 2).tolist()
    [[1, 2, 3, 2], [1, 2, 3, 2]]
    """
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    if not (bottom or right):
        return image
    rows = mirror_index(image.shape[-2], 0, bottom, device=image.device)
    columns = mirror_index(image.shape[-1], 0, right, device=image.device)
    return image[..., rows, :][..., columns]
