"""Pictures of features: sheets of maps, patches with what a unit sends back, heat over a photograph."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.inspection.dense_picture import ramp
from unpool.ops.cutting import Frame, cut, resize_to
from unpool.ops.drawing import drawable
from unpool.ops.drawing_sheet import draw_sheet

TILE = 96  # pixels of a side
COLUMNS = 8  # maps in a row of a sheet
GAP, GREY = 3, 128


def draw_maps(maps: Tensor, names: Sequence[str]) -> Tensor:
    """Draws a sheet of maps, each in colours from its least to its largest value.

    Args:
        maps: (N, h, w). Of single values, h = w = 1, all have one scale.
        names: of each, written above it.

    Returns:
        (3, H, W) uint8.

    Example:
        >>> draw_maps(torch.rand(9, 14, 14), [str(unit) for unit in range(9)]).shape  # two rows
        torch.Size([3, 246, 822])
    """
    each = maps.flatten() if maps[0].numel() == 1 else maps.flatten(1)
    low, high = (end.reshape(-1, 1, 1) for end in (each.amin(-1), each.amax(-1)))
    scaled = (maps - low) / (high - low).clamp(min=1e-12)
    tiles = [(name, enlarged(ramp(one).round().to(torch.uint8))) for name, one in zip(names, scaled, strict=True)]
    return draw_sheet([tiles[first : first + COLUMNS] for first in range(0, len(tiles), COLUMNS)])


def enlarged(picture: Tensor, side: int = TILE) -> Tensor:
    """Brings a picture (C, h, w) uint8 to a longer side of `side` pixels, by whole pixels where it grows."""
    height, width = picture.shape[1:]
    factor = max(1, side // max(height, width))
    picture = picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    scale = side / max(picture.shape[1:])
    return resize_to(picture, (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[2] * scale))))


def patch_of(picture: Tensor, frame: Frame) -> Tensor:
    """Cuts a part out of an image (C, H, W) uint8, grey beyond it: (3, h, w) uint8."""
    shown = drawable(picture).expand(3, -1, -1)
    return cut(shown, frame, torch.full((3,), float(GREY)))


def signal_picture(signal: Tensor, frame: Frame, *, order: str = "rgb") -> Tensor:
    """Draws a part of a signal (C, H, W): grey is 0, the value farthest from it black or white; (3, h, w) uint8.

    Args:
        signal: on the network's input.
        frame: the part.
        order: of its channels, "rgb" or "bgr".
    """
    colours = signal.flip(0) if order == "bgr" else signal
    part = cut(drawable(colours).expand(3, -1, -1), frame, torch.zeros(3))
    most = part.abs().max().clamp(min=1e-12)
    return (GREY - 0.5 + 127.5 * part / most).round().clamp(0, 255).to(torch.uint8)


def tiled(pictures: Sequence[Tensor], side: int = TILE) -> Tensor:
    """Sets pictures (3, h, w) uint8 in a square of rows, grey where there are too few: (3, H, W) uint8.

    Example:
        >>> tiled([torch.zeros(3, 40, 20, dtype=torch.uint8)] * 9, side=10).shape
        torch.Size([3, 36, 36])
    """
    rows = max(1, math.ceil(math.sqrt(len(pictures))))
    whole = rows * side + (rows - 1) * GAP
    sheet = torch.full((3, whole, whole), GREY, dtype=torch.uint8)
    for i, one in enumerate(pictures):
        tile = enlarged(one, side)
        top, left = (at * (side + GAP) for at in divmod(i, rows))
        top, left = top + (side - tile.shape[1]) // 2, left + (side - tile.shape[2]) // 2
        sheet[:, top : top + tile.shape[1], left : left + tile.shape[2]] = tile
    return sheet
