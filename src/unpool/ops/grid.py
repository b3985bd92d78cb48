"""A grid of cells over an image, each of which answers for the things whose middle lies in it.

Boxes are (left, top, right, bottom) in shares of the image's width and height, cells are numbered row after row. A cell
has a few predictors and one set of classes: of the things in it, the largest says the class, and those of that class
get a predictor each while there are some.

Source: Redmon et al. 2016, arXiv:1506.02640, section 2.
"""

import torch
from torch import Tensor

from unpool.ops.boxes import areas, wide
from unpool.ops.matching import LEFT_OUT

Pair = tuple[int, int]


def cells_of(boxes: Tensor, grid_hw: Pair) -> Tensor:
    """(N,) int64: the cell that the middle of each box (N, 4) lies in; beyond the image, the nearest.

    >>> cells_of(torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 1.5, 1.5]]), (2, 3)).tolist()
    [0, 5]
    """
    rows, columns = grid_hw
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    column = (middle[:, 0] * columns).floor().long().clamp(0, columns - 1)
    row = (middle[:, 1] * rows).floor().long().clamp(0, rows - 1)
    return row * columns + column


def cell_boxes(grid_hw: Pair, *, device: torch.device | None = None) -> Tensor:
    """(rows * columns, 4) the cells themselves.

    >>> cell_boxes((1, 2)).tolist()
    [[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]
    """
    rows, columns = grid_hw
    y, x = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    low = torch.stack([x, y], dim=-1).reshape(-1, 2)
    sides = torch.tensor([columns, rows], device=device)
    return torch.cat([low / sides, (low + 1) / sides], dim=1)


def encode_in_cells(boxes: Tensor, cells: Tensor, grid_hw: Pair) -> Tensor:
    """(N, 4) of boxes (N, 4): x and y of the middle within the cells (N,), 0 to 1, and roots of width and height.

    >>> encode_in_cells(torch.tensor([[0.5, 0.0, 1.0, 0.25]]), torch.tensor([1]), (2, 2)).tolist()
    [[0.5, 0.25, 0.7071067690849304, 0.5]]
    """
    corner = cell_boxes(grid_hw, device=boxes.device)[cells, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - corner
    sides = boxes.new_tensor([grid_hw[1], grid_hw[0]])
    return torch.cat([middle * sides, (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).sqrt()], dim=1)


def decode_cells(values: Tensor) -> Tensor:
    """Boxes (..., rows, columns, P, 4) of what predictors say; the inverse of `encode_in_cells`.

    A root below zero is a side as well, that of its square: the loss alone draws it to the root above.

    >>> decode_cells(torch.tensor([[[[0.5, 0.5, 0.5, -1.0]]]])).tolist()
    [[[[0.375, 0.0, 0.625, 1.0]]]]
    """
    rows, columns = values.shape[-4], values.shape[-3]
    corner = cell_boxes((rows, columns), device=values.device)[:, :2].reshape(rows, columns, 1, 2)
    middle = corner + values[..., :2] / values.new_tensor([columns, rows])
    half = values[..., 2:].square() / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def ranks_in_cells(cells: Tensor, sizes: Tensor, labels: Tensor) -> Tensor:
    """(N,) int64: how many larger things of the same cell and its class there are; LEFT_OUT of another class.

    Args:
        cells: (N,) of each thing.
        sizes: (N,) its area; of equal ones the first comes first.
        labels: (N,) its class. That of a cell is the class of its largest thing.

    Example:
        >>> cells, sizes = torch.tensor([4, 4, 4, 7]), torch.tensor([1.0, 3.0, 2.0, 1.0])
        >>> ranks_in_cells(cells, sizes, torch.tensor([5, 5, 6, 6])).tolist()
        [1, 0, -2, 0]
    """
    if not len(cells):
        return cells
    order = sizes.argsort(descending=True, stable=True)
    order = order[cells[order].argsort(stable=True)]
    _, group, counts = cells[order].unique_consecutive(return_inverse=True, return_counts=True)
    first = (counts.cumsum(0) - counts)[group]
    ordered = labels[order]
    is_of_class = ordered == ordered[first]
    before = is_of_class.cumsum(0)
    ranks = torch.full_like(cells, LEFT_OUT)
    ranks[order] = torch.where(is_of_class, before - before[first], LEFT_OUT)
    return ranks


def responsible(predicted: Tensor, boxes: Tensor, cells: Tensor, ranks: Tensor) -> Tensor:
    """(N,) int64: the predictor of its cell that answers for each box, the one that overlaps it most by IoU.

    Each answers for one box at most, the larger box chooses first. Where none that is left overlaps a box, it is the
    one whose middle and sides are nearest, as in the paper's release (pjreddie/darknet, detection_layer.c).

    Args:
        predicted: (rows * columns, P, 4) boxes.
        boxes: (N, 4).
        cells: (N,) of the boxes.
        ranks: (N,) from 0 to P - 1, no two alike in a cell.

    Example:
        >>> predicted = torch.tensor([[[0.0, 0.0, 0.1, 0.1], [0.0, 0.0, 0.5, 0.5]]])
        >>> one, zero = torch.tensor([[0.0, 0.0, 0.4, 0.6]]), torch.tensor([0])
        >>> responsible(predicted, one, zero, zero).tolist()
        [1]
    """
    of_cell = predicted[cells]  # (N, P, 4)
    overlap = pairwise_iou(of_cell, boxes[:, None])
    distance = (_middles_and_sides(of_cell) - _middles_and_sides(boxes)[:, None]).square().sum(-1)
    is_taken = torch.zeros(predicted.shape[:2], dtype=torch.bool, device=predicted.device)
    chosen = torch.zeros_like(cells)
    for rank in range(int(ranks.max()) + 1 if len(ranks) else 0):
        here = (ranks == rank).nonzero()[:, 0]
        free = ~is_taken[cells[here]]
        best = overlap[here].masked_fill(~free, -1.0).max(1)
        nearest = distance[here].masked_fill(~free, torch.inf).argmin(1)
        chosen[here] = torch.where(best.values > 0, best.indices, nearest)
        is_taken[cells[here], chosen[here]] = True
    return chosen


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(...) intersection over union of boxes (..., 4) and others (..., 4), one with one; 0 where both are empty.

    >>> pairwise_iou(torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([0.0, 0.0, 4.0, 2.0]))
    tensor(0.5000)
    """
    boxes, others = wide(boxes), wide(others)
    low, high = torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = areas(boxes) + areas(others) - shared
    return torch.where(union > 0, shared / union, 0.0)


def _middles_and_sides(boxes: Tensor) -> Tensor:
    low, high = boxes.split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)
