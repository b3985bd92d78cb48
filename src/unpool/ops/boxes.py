"""Boxes as corners (left, top, right, bottom) in pixels from the outer edge of the first: one of w pixels is w wide.

Deltas are those of R-CNN: shifts of the centre in sides of the anchor, logarithms of the ratios of the sides. The
papers of 2014 to 2016 count a box from the first to the last pixel and add 1 to each side; here nothing is added, as in
every later code. Boxes of fewer bits than float32, and whole numbers, are computed in as many as areas need (`wide`).

Source: Girshick et al. 2014, arXiv:1311.2524, appendix C.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

COUNTED = 100  # answers of a class in an image that COCO's scores count, the surest
LARGEST = math.log(1000 / 16)  # of a logarithm of sides, so that none overflows; Detectron's limit


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Deltas (..., 4) that lead from anchors (..., 4) to boxes (..., 4), times the weights.

    >>> encode(torch.tensor([2.0, 0.0, 6.0, 8.0]), torch.tensor([0.0, 0.0, 4.0, 4.0])).tolist()
    [0.5, 0.5, 0.0, 0.6931471824645996]
    """
    centre, size = _centres(boxes)
    anchor_centre, anchor_size = _centres(anchors)
    deltas = torch.cat([(centre - anchor_centre) / anchor_size, (size / anchor_size).log()], dim=-1)
    return deltas * deltas.new_tensor(weights)


def decode(deltas: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Boxes (..., 4) that deltas (..., 4), times the weights, lead to from anchors (..., 4); the inverse of `encode`.

    >>> decode(torch.tensor([0.5, 0.5, 0.0, 0.6931471824645996]), torch.tensor([0.0, 0.0, 4.0, 4.0])).tolist()
    [2.0, 0.0, 6.0, 8.0]
    """
    shift, growth = (deltas / deltas.new_tensor(weights)).split(2, dim=-1)
    centre, size = _centres(anchors)
    centre = centre + shift * size
    half = growth.clamp(max=LARGEST).exp() * size / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def wide(values: Tensor) -> Tensor:
    """The values in numbers whose products neither overflow nor are rounded: float32 at least, whole ones as int64.

    >>> wide(torch.tensor([300.0], dtype=torch.float16)).square(), wide(torch.tensor([200], dtype=torch.uint8)).square()
    (tensor([90000.]), tensor([40000]))
    """
    if not values.is_floating_point():
        return values.long()
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centres and sizes, (..., 2) x, y each."""
    low, high = wide(boxes).split(2, dim=-1)
    return (low + high) / 2, high - low


def areas(boxes: Tensor) -> Tensor:
    """(...) pixels that boxes (..., 4) cover, 0 of one whose sides are turned about.

    >>> areas(torch.tensor([[0.0, 0.0, 4.0, 2.0], [3.0, 0.0, 1.0, 2.0]])).tolist()
    [8.0, 0.0]
    """
    low, high = wide(boxes).split(2, dim=-1)
    return (high - low).clamp(min=0).prod(-1)


def around_masks(masks: Tensor) -> Tensor:
    """(N, 4) int64 boxes around the pixels of masks (N, H, W) bool; without extent where there are none.

    Differs from torchvision's `masks_to_boxes`, whose right and bottom are the last pixel itself, one less.

    >>> around_masks(torch.tensor([[[0, 1, 1], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]]).bool()).tolist()
    [[1, 0, 3, 2], [0, 0, 0, 0]]
    """
    ends = []
    for dim in (1, 2):  # over rows: which columns; then over columns: which rows
        is_set = masks.any(dim)
        first = is_set.int().argmax(1)
        last = is_set.shape[1] - is_set.flip(1).int().argmax(1)
        ends.append(torch.stack((first, torch.where(is_set.any(1), last, first)), dim=1))
    return torch.stack(ends, dim=2).flatten(1)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, M) pixels that boxes (N, 4) and others (M, 4) share.

    >>> overlaps(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[2.0, 2.0, 6.0, 6.0], [5.0, 5.0, 6.0, 6.0]]))
    tensor([[4., 0.]])
    """
    boxes, others = wide(boxes), wide(others)
    left, top, right, bottom = others.T.contiguous()  # (M,) each: five times as fast as pairs of x and y
    width = torch.minimum(boxes[:, 2:3], right) - torch.maximum(boxes[:, 0:1], left)
    height = torch.minimum(boxes[:, 3:4], bottom) - torch.maximum(boxes[:, 1:2], top)
    return width.clamp(min=0) * height.clamp(min=0)


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, M) intersection over union of boxes (N, 4) and others (M, 4), 0 where both are empty.

    >>> iou(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[0.0, 0.0, 4.0, 2.0]]))
    tensor([[0.5000]])
    """
    shared = overlaps(boxes, others)
    union = areas(boxes)[:, None] + areas(others)[None] - shared
    return torch.where(union > 0, shared / union, 0.0)
