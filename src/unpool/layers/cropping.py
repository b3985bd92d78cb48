"""Crops maps, and pads them by mirroring."""

import torch
from torch import Tensor

from unpool.ops.cutting import mirror_index


def crop(x: Tensor, size_hw: tuple[int, int], *, offset: int = 0) -> Tensor:
    """Crops a map to `size_hw`, from row and column `offset` on: (B, C, h, w) -> (B, C, H, W), a view.

    The result is smaller where the map ends before.
    """
    return _cut(x, size_hw, top=offset, left=offset)


def crop_centre(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Crops the middle of a map to `size_hw`: (B, C, h, w) -> (B, C, H, W), a view.

    If the surplus is odd, one more row or column is cut at the bottom or right.
    """
    return _cut(x, size_hw, top=(x.shape[-2] - size_hw[0]) // 2, left=(x.shape[-1] - size_hw[1]) // 2)


def _cut(x: Tensor, size_hw: tuple[int, int], *, top: int, left: int) -> Tensor:
    if torch.compiler.is_exporting():  # a view's layout in memory would bind the program to sizes like the example's
        rows = torch.arange(top, top + size_hw[0], device=x.device)
        columns = torch.arange(left, left + size_hw[1], device=x.device)
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., top : top + size_hw[0], left : left + size_hw[1]]


def mirror_pad(x: Tensor, *, before: int, after_hw: tuple[int, int]) -> Tensor:
    """Pads by mirroring at the borders, without repeating the border pixel; the padding may be larger than the image.

    Args:
        x: (B, C, H, W).
        before: rows added at the top and columns added at the left.
        after_hw: rows added at the bottom, columns added at the right.

    Returns:
        (B, C, before + H + after_hw[0], before + W + after_hw[1]).
    """
    rows = mirror_index(x.shape[-2], before, after_hw[0], device=x.device)
    columns = mirror_index(x.shape[-1], before, after_hw[1], device=x.device)
    return x.index_select(-2, rows).index_select(-1, columns)
