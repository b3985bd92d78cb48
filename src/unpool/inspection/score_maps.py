"""Interpolates a map of scores to every pixel; each score belongs to the centre of its window."""

from collections.abc import Iterator

import torch
from torch import Tensor

from unpool.types import Activation

Pair = tuple[int, int]
VALUES = 1 << 24  # of one band of rows


def shares(positions: int, size: int, *, window: int, stride: int, smooth: bool) -> Tensor:
    """Weight of each position at each pixel of one axis: (size, positions), rows add to 1.

    Args:
        positions: of the map; the first stands at the pixel (window - 1) / 2, its neighbour `stride` pixels on.
        size: pixels.
        window: pixels of a window.
        stride: pixels between neighbours.
        smooth: linear between two neighbours, else the nearest one; the first and the last one beyond them.
    """
    pixel = torch.arange(size, dtype=torch.float64)
    at = ((pixel - (window - 1) / 2) / stride).clamp(0, positions - 1)
    if not smooth:
        return torch.nn.functional.one_hot((at + 0.5).floor().long().clamp(max=positions - 1), positions).float()
    before = at.floor().long().clamp(max=max(0, positions - 2))
    result = torch.zeros(size, positions, dtype=torch.float64)
    result.scatter_(1, before[:, None], 1 - (at - before)[:, None])
    if positions > 1:
        result.scatter_(1, before[:, None] + 1, (at - before)[:, None])
    return result.float()


def at_every_pixel(
    scores: Tensor, size_hw: Pair, *, window_hw: Pair, stride: Pair, smooth: bool = True
) -> Iterator[tuple[slice, Tensor]]:
    """Yields bands of rows with their scores (N, rows, W), interpolated between the positions of the map.

    Args:
        scores: (N, H', W'), those of the windows that lie `stride` apart from the upper left corner on.
        size_hw: of the image.
        window_hw: of a window.
        stride: pixels between windows, by axis.
        smooth: as in `shares`.
    """
    rows, columns = (
        shares(n, size, window=window, stride=step, smooth=smooth).to(scores.device)
        for n, size, window, step in zip(scores.shape[1:], size_hw, window_hw, stride, strict=True)
    )
    band = max(1, VALUES // (len(scores) * size_hw[1]))
    for top in range(0, size_hw[0], band):
        band_rows = slice(top, min(size_hw[0], top + band))
        yield band_rows, rows[band_rows] @ scores.float() @ columns.T


def probabilities(scores: Tensor, activation: Activation) -> Tensor:
    """Those of each class, from scores (N, ...).

    >>> probabilities(torch.tensor([0.0, 0.0]), "softmax").tolist(), probabilities(torch.zeros(3), "sigmoid").tolist()
    ([0.5, 0.5], [0.5, 0.5, 0.5])
    """
    return scores.sigmoid() if activation == "sigmoid" else scores.softmax(0)


def heat_and_classes(
    scores: Tensor,
    label: int,
    size_hw: Pair,
    *,
    window_hw: Pair,
    stride: Pair,
    smooth: bool = True,
    activation: Activation = "softmax",
) -> tuple[Tensor, Tensor]:
    """Probability of one class and the likeliest class at each pixel; the arguments are those of `at_every_pixel`.

    `activation` makes probabilities of the scores.

    Returns:
        (H, W) float32 from 0 to 1, and (H, W) int64.
    """
    heat, classes = [], []
    for _, band in at_every_pixel(scores, size_hw, window_hw=window_hw, stride=stride, smooth=smooth):
        heat.append(probabilities(band, activation)[label])
        classes.append(band.argmax(0))
    return torch.cat(heat), torch.cat(classes)


def covered(positions: Pair, *, window_hw: Pair, stride: Pair) -> tuple[slice, slice]:
    """Rows and columns of the image that are within half a stride of the centre of a window."""
    rows, columns = (
        slice(max(0, (window - step) // 2), (n - 1) * step + (window + step) // 2)
        for n, window, step in zip(positions, window_hw, stride, strict=True)
    )
    return rows, columns


def likeliest(scores: Tensor, activation: Activation = "softmax") -> int:
    """The class of the highest mean probability over the map (N, H', W'); positions of NaN are left out."""
    is_known = scores.isfinite().all(0)
    return int(probabilities(scores[:, is_known].float(), activation).mean(1).argmax())
