"""A fully convolutional network over an image too large for one pass: overlapping tiles, of which centres are kept.

Two neighbours meet in the middle of what they share, so each kept pixel is at least overlap / 2 away from every edge of
its tile that is no edge of the image. A network that sees no further than that gives the same scores as in one pass,
seams and image borders included, because every tile starts at a multiple of the network's stride and the last one ends
where the image ends. What looks at the whole image (global pooling, batch statistics in training mode, a map that is
stretched over it) changes with the tile.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from unpool.ops.layout import along, neighbours, shown_part

Network = Callable[[Tensor], Tensor]
Sides = int | tuple[int, int]  # pixels of both sides, or of rows and of columns


def declared_stride(model: nn.Module) -> int:
    """The network's coarsest stride, as its attribute `stride` says; 32 where it has none that is a whole number.

    Example:
        >>> declared_stride(nn.Conv2d(1, 1, 3))  # its stride is a tuple, which says nothing of the network
        32
    """
    declared = getattr(model, "stride", None)
    return declared if isinstance(declared, int) else 32


def tile_sides(model: nn.Module, *, multiple: int, tile: int = 1024, overlap: int = 256) -> dict[str, int]:
    """The sides that `pieces` and `predict_scores` take: `tile`, at least as large as asked for, `overlap`, `stride`.

    Args:
        model: the network.
        multiple: of which images are padded to a multiple; tiles start at multiples of it too, so that each pixel has
            the position that it has in one pass.
        tile: pixels of a tile's side.
        overlap: pixels that neighbours share.

    Example:
        >>> tile_sides(nn.Identity(), multiple=48, tile=100, overlap=8)
        {'tile': 192, 'overlap': 8, 'stride': 96}
    """
    stride = math.lcm(declared_stride(model), multiple)
    return {"tile": -(-max(tile, overlap + stride) // stride) * stride, "overlap": overlap, "stride": stride}


class Span(NamedTuple):
    """One tile along one axis: it reads start..stop of the image and keeps first..last."""

    start: int
    stop: int
    first: int
    last: int


class Piece(NamedTuple):
    """Scores (B, N, h, w) of a part of the image, and the rows and columns that they belong to."""

    rows: slice
    columns: slice
    scores: Tensor


def spans(size: int, *, tile: int, overlap: int, stride: int) -> list[Span]:
    """Tiles along one axis; what they keep covers 0..size once.

    Args:
        size: pixels of the image.
        tile: pixels of a tile, a multiple of `stride`; the last one may be up to `stride - 1` shorter.
        overlap: least number of pixels that two neighbours share.
        stride: every tile starts at a multiple of it; the network's coarsest stride.

    Raises:
        ValueError: the tile is no multiple of the stride, or does not move by at least one stride.

    Example:
        >>> spans(10, tile=8, overlap=4, stride=2)
        [Span(start=0, stop=8, first=0, last=5), Span(start=2, stop=10, first=5, last=10)]
    """
    if stride < 1 or overlap < 0 or tile % stride or tile - overlap < stride:
        raise ValueError(
            f"tile {tile}, overlap {overlap}, stride {stride}: the stride must be at least 1, the overlap at least "
            "0, and the tile a multiple of the stride and at least overlap + stride"
        )
    if size <= tile:
        return [Span(0, size, 0, size)]
    step = (tile - overlap) // stride * stride
    last_start = -(-(size - tile) // stride) * stride
    starts = [*range(0, last_start, step), last_start]
    stops = [start + tile for start in starts[:-1]] + [size]
    cuts = [0] + [(stop + start) // 2 for stop, start in zip(stops, starts[1:], strict=False)] + [size]
    return [Span(*span) for span in zip(starts, stops, cuts, cuts[1:], strict=False)]


def pieces(network: Network, image: Tensor, *, tile: Sides, overlap: Sides, stride: int) -> Iterator[Piece]:
    """The network's scores, part by part, so that a caller need not hold all of them.

    Args:
        network: from (B, C, h, w) to scores (B, N, h', w') with h' >= h and w' >= w; what is beyond is padding.
        image: (B, C, H, W), of the kind that `network` takes.
        tile: pixels of a tile's sides, see `spans`.
        overlap: pixels that neighbours share.
        stride: the network's coarsest stride.

    Example:
        >>> import torch
        >>> for piece in pieces(nn.Identity(), torch.zeros(1, 1, 4, 10), tile=8, overlap=4, stride=2):
        ...     print(piece.rows, piece.columns)
        slice(0, 4, None) slice(0, 5, None)
        slice(0, 4, None) slice(5, 10, None)
    """
    tiles, overlaps = _both(tile), _both(overlap)
    columns = spans(image.shape[-1], tile=tiles[1], overlap=overlaps[1], stride=stride)
    for row in spans(image.shape[-2], tile=tiles[0], overlap=overlaps[0], stride=stride):
        for column in columns:
            part = image[..., row.start : row.stop, column.start : column.stop]
            scores = network(part)
            if scores.shape[-2] < part.shape[-2] or scores.shape[-1] < part.shape[-1]:
                raise ValueError(
                    f"the network gives scores {tuple(scores.shape[-2:])} for a tile {tuple(part.shape[-2:])} (H, W); "
                    "tiles need a score for every pixel: make the decoder upsample to the input size"
                )
            kept = scores[..., _kept(row), _kept(column)]
            yield Piece(slice(row.first, row.last), slice(column.first, column.last), kept)


def _both(sides: Sides) -> tuple[int, int]:
    return sides if isinstance(sides, tuple) else (sides, sides)


def _kept(span: Span) -> slice:
    return slice(span.first - span.start, span.last - span.start)


def predict_scores(
    network: Network, image: Tensor, *, limit: int, tile: Sides = 1024, overlap: Sides = 256, stride: int = 32
) -> Tensor:
    """Scores of images of any number and size.

    Args:
        network: from (B, C, h, w) to scores (B, N, h, w).
        image: (B, C, H, W).
        limit: at most this many pixels (B * H * W) go through in one pass; a larger batch goes in parts, a larger
            image in tiles, one at a time. Each side of an image counts as `stride` at least.
        tile: pixels of a tile's sides, see `spans`.
        overlap: pixels that neighbours share.
        stride: the network's coarsest stride.

    Returns:
        (B, N, H, W), on the image's device.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 3, 40, 48)
        >>> scores = predict_scores(nn.Identity(), image, limit=1000, tile=32, overlap=16, stride=8)
        >>> torch.equal(scores, image)
        True
    """
    height, width = image.shape[-2:]
    padded = max(height, stride) * max(width, stride)  # as many as the network's padding makes of a strip
    is_whole = padded <= limit or (height <= _both(tile)[0] and width <= _both(tile)[1])
    at_once = max(1, limit // max(1, height * width))
    if is_whole and len(image) <= at_once:
        return network(image)
    scores: Tensor | None = None
    for start in range(0, len(image), at_once):
        part = image[start : start + at_once]
        tiles = pieces(network, part, tile=tile, overlap=overlap, stride=stride)
        for piece in [Piece(slice(None), slice(None), network(part))] if is_whole else tiles:
            if scores is None:
                size = piece.scores.shape[-2:] if is_whole else (height, width)
                scores = piece.scores.new_empty(len(image), *piece.scores.shape[1:-2], *size)
            scores[start : start + at_once][..., piece.rows, piece.columns] = piece.scores
    if scores is None:
        raise ValueError(f"images are {tuple(image.shape)} (B, C, H, W): they have no pixels")
    return scores


def resized_bands(
    scores: Tensor, size_hw: tuple[int, int], *, limit: int, valid_xyxy: Sequence[float] | None = None
) -> Iterator[Piece]:
    """Bilinear scores at another size, in bands of whole rows, so that a caller need not hold all of them.

    Where the size is that of the scores, bands are views of them.

    Args:
        scores: (B, N, h, w) float.
        size_hw: size of the result; coordinates as in `interpolate` without aligned corners.
        limit: pixels of a band; at least one row.
        valid_xyxy: the box of the scores that is shown, nothing beyond it entering; all of them where None.

    Example:
        >>> import torch
        >>> scores = torch.rand(1, 2, 5, 4)
        >>> bands = list(resized_bands(scores, (10, 8), limit=32))
        >>> [band.rows.stop for band in bands]
        [4, 8, 10]
        >>> whole = nn.functional.interpolate(scores, (10, 8), mode="bilinear")
        >>> torch.allclose(torch.cat([band.scores for band in bands], 2), whole, atol=1e-6)
        True
    """
    height, width = size_hw
    whole = (0, 0, scores.shape[-1], scores.shape[-2])
    scores, (left, top, right, bottom) = shown_part(scores, whole if valid_xyxy is None else valid_xyxy)
    rows = max(1, limit // width)
    bands = [slice(top, min(top + rows, height)) for top in range(0, height, rows)]
    if (left, top, right, bottom) == (0, 0, width, height) and tuple(scores.shape[-2:]) == size_hw:
        yield from (Piece(band, slice(0, width), scores[..., band, :]) for band in bands)
        return
    above, below, share = neighbours((top, bottom), height, scores.shape[-2], device=scores.device)
    share = share.to(scores.dtype)[:, None]
    for band in bands:
        lines = scores[..., above[band], :].lerp(scores[..., below[band], :], share[band])  # (B, N, band, w)
        if (left, right) == (0, scores.shape[-1]):
            wide = nn.functional.interpolate(lines, (lines.shape[-2], width), mode="bilinear", align_corners=False)
        else:
            wide = along(lines, (left, right), width, dim=-1)
        yield Piece(band, slice(0, width), wide)
