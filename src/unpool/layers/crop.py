"""Cutting maps to size and padding them by mirroring."""

import torch
from torch import Tensor

from unpool.ops.cutting import mirror_index


def crop(x: Tensor, size_hw: tuple[int, int], *, offset: int = 0) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): `size_hw` pixels of those there are, from `offset` on each way; a view."""
    return _cut(x, size_hw, top=offset, left=offset)


def crop_centre(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): the middle; an odd surplus is cut at the bottom and right. A view."""
    return _cut(x, size_hw, top=(x.shape[-2] - size_hw[0]) // 2, left=(x.shape[-1] - size_hw[1]) // 2)


def _cut(x: Tensor, size_hw: tuple[int, int], *, top: int, left: int) -> Tensor:
    if torch.compiler.is_exporting():  # a view's layout in memory would bind the program to sizes like the example's
        rows = torch.arange(top, top + size_hw[0], device=x.device)
        columns = torch.arange(left, left + size_hw[1], device=x.device)
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., top : top + size_hw[0], left : left + size_hw[1]]


def mirror_pad(x: Tensor, *, before: int, after_hw: tuple[int, int]) -> Tensor:
    """Mirrors at the borders, without repeating the border pixel, as often as the image is too small for.

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
