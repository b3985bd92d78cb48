"""Upsampling by stride, by transposed convolution, or by repetition and a convolution."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from unpool.layers.cropping import fit
from unpool.layers.unpooling import NearestUnpool

LARGEST_CELL = 64  # pixels; a dilated map covers what the strided one did, so up to one of its cells more or less


def upsample(
    x: Tensor,
    factor: int,
    size_hw: tuple[int, int],
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
    """
    height, width = x.shape[-2:]
    if not torch.compiler.is_exporting():  # where a comparison would bind the program to sizes like the example's
        _check_cells((height, width), factor, size_hw)
    finer = (factor * (height - 1) + 1, factor * (width - 1) + 1) if corners else (factor * height, factor * width)
    aligned = True if corners else None
    return fit(nn.functional.interpolate(x, finer, mode=mode, align_corners=aligned), size_hw)


def _check_cells(cells: tuple[int, int], factor: int, size_hw: tuple[int, int]) -> None:
    most = max(factor, LARGEST_CELL)
    if any(abs(factor * n - size) >= most for n, size in zip(cells, size_hw, strict=True)):
        raise ValueError(
            f"a map of {cells[0]}x{cells[1]} cells of {factor} pixels cannot cover {size_hw[0]}x{size_hw[1]} (H, W): "
            "state the stride that the map has"
        )


def bilinear_filter(factor: int, *, side: int | None = None) -> Tensor:
    """Returns the (k, k) float32 filter that interpolates between pixels `factor` apart.

    k is `side` or, if that is None, 2 * factor - factor % 2.

    Source: Long et al. 2015 (arXiv:1411.4038), section 3.3, and the filler of the authors' release.
    """
    side = side or 2 * factor - factor % 2
    middle = (side - 1) / 2
    line = 1 - (torch.arange(side) - middle).abs() / factor
    return line[:, None] * line[None, :]


class BilinearDeconv(nn.ConvTranspose2d):
    """Transposed convolution whose initial weights interpolate each channel bilinearly.

    (B, C, h, w) -> (B, C, factor * (h - 1) + k, ...) with k as in `bilinear_filter`; callers crop the surplus, which is
    k - factor pixels, `k // 2 - factor // 2` of them before the first pixel.

    Args:
        channels: of input and output.
        factor: stride of the convolution: how many times finer the output is.
        learned: whether training changes the filter; the parameter exists either way.
        side: side k of the filter; None for that of `bilinear_filter`.
    """

    def __init__(self, channels: int, factor: int, *, learned: bool = True, side: int | None = None) -> None:
        side = side or 2 * factor - factor % 2
        super().__init__(channels, channels, side, stride=factor, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = bilinear_filter(factor, side=side)
        self.weight.requires_grad_(learned)


class ResizeConv(nn.Sequential):
    """Repeats each value over a block, then convolves: (B, C_in, H, W) -> (B, C_out, factor * H, factor * W).

    Every output is a sum of equally many products, so that no checkerboard can appear; in a transposed convolution this
    holds only if the filter's side is a multiple of the stride.

    Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", doi:10.23915/distill.00003.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the filter, odd.
        factor: how many times higher and wider the output is.
        bias: learn a bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, *, factor: int = 2, bias: bool = True
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
        super().__init__(OrderedDict(resize=NearestUnpool(factor), conv=conv))
