"""Brings maps of a network to finer sizes, by the ratio of strides and not by that of sizes."""

from typing import Literal

import torch
from torch import Tensor, nn

LARGEST_CELL = 64  # pixels; a dilated map covers what the strided one did, so up to one of its cells more or less

Pair = tuple[int, int]


def upsample(
    x: Tensor,
    factor: int,
    size_hw: Pair,
    *,
    mode: Literal["bilinear", "nearest-exact"] = "bilinear",
    corners: bool = False,
) -> Tensor:
    """Brings a map to a finer size, each cell where its pixels are: (B, C, h, w) -> (B, C, H, W).

    Cell i lies over the pixels factor * i to factor * i + factor - 1 at every size, so that an image with one column
    more gets the same values. The surplus is cut off; beyond the last cell its value is repeated, as for maps of sizes
    that were rounded down.

    Args:
        x: a map of about H / factor by W / factor cells.
        factor: pixels of the result by cell.
        size_hw: size of the result.
        mode: linear between the centres of the cells, or the value of the cell.
        corners: the centre of cell i is the pixel factor * i, instead of the middle of its pixels.

    Raises:
        ValueError: what the map covers differs from the size by a cell and by LARGEST_CELL or more.

    Example:
        >>> x = torch.tensor([[[[0.0, 2.0, 4.0]]]])
        >>> upsample(x, 2, (1, 5))
        tensor([[[[0.0000, 0.5000, 1.5000, 2.5000, 3.5000]]]])
        >>> nn.functional.interpolate(x, (1, 5), mode="bilinear")  # stretched: the middle of the map in the middle
        tensor([[[[0.0000, 0.8000, 2.0000, 3.2000, 4.0000]]]])
    """
    cells = (x.shape[-2], x.shape[-1])
    if not torch.compiler.is_exporting():  # where a comparison would bind the program to sizes like the example's
        _check(cells, factor, size_hw)
    surplus = factor - 1 if corners else 0
    finer = (factor * cells[0] - surplus, factor * cells[1] - surplus)
    return fit(nn.functional.interpolate(x, finer, mode=mode, align_corners=True if corners else None), size_hw)


def fit(x: Tensor, size_hw: Pair) -> Tensor:
    """Crops a map at the bottom and right, or repeats its last row and column: (B, C, h, w) -> (B, C, H, W).

    >>> fit(torch.tensor([[[[1, 2, 3]]]]), (2, 2)).tolist()
    [[[[1, 2], [1, 2]]]]
    >>> fit(torch.tensor([[[[1, 2, 3]]]]), (1, 5)).tolist()
    [[[[1, 2, 3, 3, 3]]]]
    """
    if not torch.compiler.is_exporting() and x.shape[-2] >= size_hw[0] and x.shape[-1] >= size_hw[1]:
        return x[..., : size_hw[0], : size_hw[1]]
    for dim, size in ((-2, size_hw[0]), (-1, size_hw[1])):
        x = x.index_select(dim, torch.arange(size, device=x.device).clamp_max(x.shape[dim] - 1))
    return x


def _check(cells: Pair, factor: int, size_hw: Pair) -> None:
    most = max(factor, LARGEST_CELL)
    if any(abs(factor * n - size) >= most for n, size in zip(cells, size_hw, strict=True)):
        raise ValueError(
            f"a map of {cells[0]}x{cells[1]} cells of {factor} pixels cannot cover {size_hw[0]}x{size_hw[1]} (H, W): "
            "give the stride that the map has; a backbone states it in `strides`"
        )
