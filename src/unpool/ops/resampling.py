"""Applies the coordinate maps of `ops.geometry` and `ops.bending` to images and masks."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from unpool.ops.bending import Bent, Map
from unpool.ops.colour import recolour
from unpool.ops.cutting import averaged

_EXACT = 1e-3  # pixels
_LONGEST = 10_000


def warp(
    image: Tensor,
    matrix: Map,
    size_hw: tuple[int, int],
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    fill: Tensor | float = 0.0,
    colours: Tensor | None = None,
) -> Tensor:
    """Applies maps to images: resamples each image at the positions that the output's pixels are mapped to.

    Positions between the centre of a border pixel and its outer edge get the border pixel; those beyond the edge get
    `fill`. Where a map shrinks its image, the image is first averaged to about that scale, as in
    `Preprocessing.resize`.

    Args:
        image: (C, H, W) or (B, C, H, W), uint8 or float32.
        matrix: (3, 3) or (B, 3, 3), output to input; of one image also a map that bends.
        size_hw: size of the output.
        mode: "bilinear" for pictures, "nearest" for classes.
        fill: value outside of the image, or (C,) one per channel.
        colours: (C, C + 1) or (B, C, C + 1) as in `ops.colour`, applied inside of the image only.

    Returns:
        (C, H, W) or (B, C, H, W) of the image's type.

    Example:
        >>> from unpool.ops import geometry
        >>> image = torch.tensor([[[1.0, 2.0, 3.0]]])
        >>> warp(image, geometry.mirror(torch.tensor([True]), torch.tensor([3]))[0], (1, 3))
        tensor([[[3., 2., 1.]]])
        >>> warp(image, geometry.translation(torch.tensor([1.0]), torch.tensor([0.0]))[0], (1, 3), fill=9.0)
        tensor([[[2., 3., 9.]]])
    """
    if image.dim() == 3:
        colours = None if colours is None else colours[None]
        matrix = matrix if isinstance(matrix, Bent) else matrix[None]
        return warp(image[None], matrix, size_hw, mode=mode, fill=fill, colours=colours)[0]
    fill = torch.as_tensor(fill, dtype=torch.float32).expand(image.shape[1]).view(-1, 1, 1)
    fill = fill if image.dtype == torch.float32 else fill.round()
    if isinstance(matrix, Bent):
        image, matrix = _shrink_bent(image, matrix) if mode == "bilinear" else (image, matrix)
        return _fill_in(image, matrix, size_hw, mode=mode, fill=fill, colours=colours)
    if mode == "bilinear" and bool((_shrinking(matrix) > 1 + _EXACT).any()):
        parts = [_shrink(image[i : i + 1], matrix[i : i + 1]) for i in range(len(image))]
        if len(parts) > 1:
            result = [_fill_in(*p, size_hw, mode=mode, fill=fill, colours=_at(colours, i)) for i, p in enumerate(parts)]
            return torch.cat(result)
        image, matrix = parts[0]
    return _fill_in(image, matrix, size_hw, mode=mode, fill=fill, colours=colours)


def warp_together(
    image: Tensor,
    matrix: Tensor,
    size_hw: tuple[int, int],
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    fill: Tensor | float = 0.0,
    colours: Tensor | None = None,
) -> Tensor:
    """`warp` of a batch on the device where it lies, in one pass; where maps shrink images, in one for each.

    Classes, by "nearest", are those of `warp`. Values of pictures differ from it by one level at most, times what
    `colours` multiply by: whole pixels are sampled where `warp` copies, and what shrinks is averaged in float32.

    Args:
        image: (B, C, H, W) uint8, on any device.
        matrix: (B, 3, 3), output to input, on the host.
        size_hw: size of the output.
        mode: "bilinear" for pictures, "nearest" for classes, whose colours stay.
        fill: value outside of the image, or (C,) one per channel.
        colours: (B, C, C + 1) as in `ops.colour`, on the host.

    Returns:
        (B, C, H, W) uint8 on the device of the images.

    Example:
        >>> from unpool.ops import geometry
        >>> image = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8)
        >>> warp_together(image, geometry.translation(torch.tensor([1.0]), torch.tensor([0.0])), (1, 3), fill=9.0)
        tensor([[[[2, 3, 9]]]], dtype=torch.uint8)
    """
    fill = torch.as_tensor(fill, dtype=torch.float32).round().expand(image.shape[1]).to(image.device).view(-1, 1, 1)
    if mode == "nearest" or not bool((_shrinking(matrix) > 1 + _EXACT).any()):
        return _fill_in(image, matrix, size_hw, mode=mode, fill=fill, colours=colours, is_copied=False)
    result = []
    for i in range(len(image)):
        small, rest = _shrink(image[i : i + 1].float(), matrix[i : i + 1])
        one = small.round().to(image.dtype)
        result.append(_fill_in(one, rest, size_hw, mode=mode, fill=fill, colours=_at(colours, i), is_copied=False))
    return torch.cat(result)


_SHARPER = 1.4  # measured: averaged to this much above the map's scale, the result is as sharp as one resized directly


def _at(colours: Tensor | None, i: int) -> Tensor | None:
    return None if colours is None else colours[i : i + 1]


def _fill_in(
    image: Tensor,
    matrix: Map,
    size_hw: tuple[int, int],
    *,
    mode: str,
    fill: Tensor,
    colours: Tensor | None,
    is_copied: bool = True,
) -> Tensor:
    """The output; where `is_copied`, by plain copies and torch's own nearest pixel where the map allows it."""
    beyond = None
    if is_copied and not isinstance(matrix, Bent) and _moves_whole_pixels(matrix):
        result = _slice(image, matrix, size_hw, fill=fill)
        if colours is None:
            return result
        if not _shows_only(matrix, _size(image), size_hw):
            beyond = _beyond(_grid(matrix, _size(image), size_hw))
    else:
        is_bent = isinstance(matrix, Bent)
        shown = (_size(image), size_hw)
        grid = _bent_grid(matrix, *shown) if is_bent else _grid(matrix, *shown, device=image.device)
        if mode == "nearest" and not is_copied:
            result = _nearest(image, grid)
        else:
            result = nn.functional.grid_sample(
                image.float(), grid, mode=mode, padding_mode="border", align_corners=False
            )
        if is_bent or not _shows_only(matrix, _size(image), size_hw):
            beyond = _beyond(grid)
    if colours is not None:
        result = recolour(result, colours)
    if beyond is not None:
        result = torch.where(beyond[:, None], fill, result)
    return result if image.dtype == torch.float32 else result.add_(0.5).clamp_(0, 255).to(image.dtype)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _grid(
    matrix: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int], *, device: torch.device | None = None
) -> Tensor:
    """(B, H, W, 2) input positions of the output's pixel centres, the input's edges being -1 and 1, on `device`."""
    unit = torch.tensor([[2 / input_hw[1], 0, -1], [0, 2 / input_hw[0], -1]], dtype=torch.float64)
    m = (unit @ matrix.double()).to(device, torch.float32)[:, :, :, None, None]  # (B, 2, 3, 1, 1)
    x = torch.arange(size_hw[1], dtype=torch.float32, device=device).add_(0.5)[None, None, :]
    y = torch.arange(size_hw[0], dtype=torch.float32, device=device).add_(0.5)[None, :, None]
    grid = torch.empty((len(matrix), *size_hw, 2), device=device)
    for i in (0, 1):
        torch.add(m[:, i, 0] * x + m[:, i, 2], m[:, i, 1] * y, out=grid[..., i])
    return grid


def _bent_grid(bent: Bent, input_hw: tuple[int, int], size_hw: tuple[int, int]) -> Tensor:
    """`_grid` of one map that bends."""
    y, x = (torch.arange(side, dtype=torch.float32).add_(0.5) for side in size_hw)
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)  # (H, W, 2)
    positions = bent.to_input(centres.reshape(-1, 2)).view(1, *size_hw, 2)
    return positions * torch.tensor([2 / input_hw[1], 2 / input_hw[0]]) - 1


def _nearest(image: Tensor, grid: Tensor) -> Tensor:
    """`grid_sample` of mode "nearest" in steps that every device rounds alike: half-way, all take the same pixel."""
    height, width = _size(image)
    x, y = (
        ((grid[..., i] + 1) * (side / 2) - 0.5).clamp(0, side - 1).round().long()
        for i, side in ((0, width), (1, height))
    )
    index = (y * width + x).flatten(1)[:, None].expand(-1, image.shape[1], -1)
    return image.float().flatten(2).gather(2, index).view(*image.shape[:2], *grid.shape[1:3])


def _beyond(grid: Tensor) -> Tensor:
    """(B, H, W) bool: positions outside of the input."""
    x, y = grid.unbind(-1)
    return (x < -1) | (y < -1) | (x >= 1) | (y >= 1)


def _shows_only(matrix: Tensor, input_hw: tuple[int, int], size_hw: tuple[int, int]) -> bool:
    """Whether all pixels of the output are inside the input: true if its corner pixels are."""
    (top, left), (bottom, right) = (0.5, 0.5), (size_hw[0] - 0.5, size_hw[1] - 0.5)
    corners = torch.tensor([[left, right, left, right], [top, top, bottom, bottom], [1, 1, 1, 1]], dtype=torch.float64)
    x, y = (matrix.double() @ corners)[:, :2].unbind(1)
    return bool((x.amin() >= 0) & (y.amin() >= 0) & (x.amax() < input_hw[1]) & (y.amax() < input_hw[0]))


def _shrinking(matrix: Tensor) -> Tensor:
    """(B, 2): distance in input pixels between neighbouring pixels of the output, in x and in y of the input."""
    return matrix[:, :2, :2].norm(dim=2)


def _shrink(image: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The image, resized to about the scale of its map, and the rest of the map.

    If the map only resizes, crops and mirrors, the image is resized to exactly its scale, so that the rest moves whole
    pixels.
    """
    exact = _resized(matrix, _size(image), sharper=1.0)
    small, there = exact if _moves_whole_pixels(exact[1]) else _resized(matrix, _size(image), sharper=_SHARPER)
    if small == _size(image):
        return image, matrix
    return averaged(image, small), there


def _shrink_bent(image: Tensor, bent: Bent) -> tuple[Tensor, Bent]:
    """`_shrink` for a map that bends, by its matrices."""
    small, _ = _resized(bent.matrix[None], _size(image), sharper=_SHARPER)
    if small == _size(image):
        return image, bent
    scale = torch.tensor([small[1] / image.shape[-1], small[0] / image.shape[-2]], dtype=torch.float64)
    return averaged(image, small), bent.scaled(scale)


def _resized(matrix: Tensor, input_hw: tuple[int, int], *, sharper: float) -> tuple[tuple[int, int], Tensor]:
    """A smaller size for the input, and the map from an input of that size."""
    factor_x, factor_y = (max(1.0, f / sharper) for f in _shrinking(matrix)[0].tolist())
    height, width = (math.ceil(s / f - _EXACT) for s, f in zip(input_hw, (factor_y, factor_x), strict=True))
    scale = torch.tensor([width / input_hw[1], height / input_hw[0], 1.0], dtype=torch.float64)
    return (height, width), scale[:, None] * matrix


def _moves_whole_pixels(matrix: Tensor) -> bool:
    linear, offset = matrix[:, :2, :2], matrix[:, :2, 2]
    upright = (linear.abs() - torch.eye(2, dtype=matrix.dtype)).abs().amax() < _EXACT / _LONGEST
    return bool(upright & ((offset - offset.round()).abs().amax() < _EXACT))


def _slice(image: Tensor, matrix: Tensor, size_hw: tuple[int, int], *, fill: Tensor) -> Tensor:
    """Applies maps of shifts and mirrors as plain copies: the same pixels as sampling, many times faster."""
    source = image.numpy()
    result = fill.to(image.dtype).expand(len(image), -1, *size_hw).contiguous()
    target = result.numpy()
    height, width = source.shape[-2:]
    for i, ((sx, _, tx), (_, sy, ty), _) in enumerate(matrix.tolist()):
        to_y, from_y = _overlap(sy, ty, height, size_hw[0])
        to_x, from_x = _overlap(sx, tx, width, size_hw[1])
        target[i, :, to_y, to_x] = source[i, :, from_y, from_x]
    return result


def _overlap(sign: float, offset: float, length: int, shown: int) -> tuple[slice, slice]:
    """Along one axis, the slice of the `shown` output pixels inside the input, and the slice of input pixels there."""
    shift = round(offset)
    first = max(0, -shift if sign > 0 else shift - length)
    last = min(shown, length - shift if sign > 0 else shift)
    if last <= first:
        return slice(0, 0), slice(0, 0)
    if sign > 0:
        return slice(first, last), slice(first + shift, last + shift)
    stop = shift - last - 1
    return slice(first, last), slice(shift - first - 1, stop if stop >= 0 else None, -1)
