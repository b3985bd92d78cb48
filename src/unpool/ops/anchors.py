"""Anchors that suit the boxes of a data set, and how well anchors of a network do, where they stand.

Shapes are planned by sides alone, as if box and anchor had one centre. Source: Redmon and Farhadi 2017,
arXiv:1612.08242, section 2. Differs: of several maps, each is planned from the boxes that are large enough for its
stride, since an anchor reaches a small box on a coarse map by chance only.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.boxes import areas, wide

REACHED = 0.5  # IoU from which on an anchor reaches a box
_ROUNDS = 100
_LEAST, _MOST = 4, 8  # sides in strides of the boxes that a map is planned from: 4 meet an anchor of theirs at IoU 0.62


class Planned(NamedTuple):
    """Anchors and how well they suit.

    Attributes:
        sides_wh: (K, 2) width and height, by area.
        iou: of each box (N,) with the anchor that suits it most.
    """

    sides_wh: Tensor
    iou: Tensor

    @property
    def share_reached(self) -> float:
        """Share of the boxes that some anchor reaches at IoU 0.5; 0 of no boxes."""
        return float((self.iou >= REACHED).double().mean()) if len(self.iou) else 0.0


def iou_of_sides(sides_wh: Tensor, others_wh: Tensor) -> Tensor:
    """(N, M) IoU of boxes of sides (N, 2) and others (M, 2) with one centre, 0 where both are empty.

    >>> iou_of_sides(torch.tensor([[4.0, 4.0]]), torch.tensor([[4.0, 2.0], [8.0, 8.0]]))
    tensor([[0.5000, 0.2500]])
    """
    sides_wh, others_wh = wide(sides_wh), wide(others_wh)
    shared = torch.minimum(sides_wh[:, None], others_wh[None]).prod(-1)
    union = sides_wh.prod(-1)[:, None] + others_wh.prod(-1)[None] - shared
    return torch.where(union > 0, shared / union, 0.0)


def plan(sides_wh: Tensor, count: int) -> Planned:
    """Anchors whose mean IoU with the boxes is high: k-means with 1 - IoU as the distance.

    The same boxes, in any order, give the same anchors: nothing is drawn. The first anchors are those of boxes evenly
    spread by area, and each then becomes the median width and height of the boxes that it suits most. An anchor that
    suits no box most moves to the box that is suited least.

    Args:
        sides_wh: (N, 2) of the boxes, in pixels of the network's input.
        count: of anchors; as many as there are boxes of different sides where those are fewer.

    Raises:
        ValueError: there is no box with an area.

    Example:
        >>> planned = plan(torch.tensor([[10.0, 10.0], [12.0, 12.0], [40.0, 20.0], [44.0, 22.0]]), 2)
        >>> planned.sides_wh.tolist(), planned.share_reached
        ([[11.0, 11.0], [42.0, 21.0]], 1.0)
    """
    boxes = sides_wh.double()
    kinds = boxes[boxes.prod(1) > 0].unique(dim=0)
    if not len(kinds):
        raise ValueError("there is no box of some width and height: anchors are planned from the boxes of the data set")
    ordered = _by_area(boxes[boxes.prod(1) > 0])
    count = min(count, len(kinds))
    spread = ((torch.arange(count) + 0.5) * len(ordered) / count).long()
    anchors = ordered[spread]
    for _ in range(_ROUNDS):
        moved = _moved(ordered, anchors)
        if torch.equal(moved, anchors):
            break
        anchors = moved
    anchors = _by_area(anchors).float()
    return Planned(anchors, reached(sides_wh, anchors))


def reached(sides_wh: Tensor, anchors_wh: Tensor) -> Tensor:
    """(N,) IoU of each box with the anchor (M, 2) that suits it most; see `iou_of_sides`.

    >>> reached(torch.tensor([[4.0, 4.0], [4.0, 2.0]]), torch.tensor([[4.0, 2.0]]))
    tensor([0.5000, 1.0000])
    """
    if not len(anchors_wh):
        return sides_wh.new_zeros(len(sides_wh))
    parts = sides_wh.split(max(1, 2**22 // len(anchors_wh)))
    return torch.cat([iou_of_sides(part, anchors_wh).amax(1) for part in parts])


def plan_maps(sides_wh: Tensor, strides: Sequence[float], each: int) -> Tensor:
    """(maps * each, 2) shapes for maps of some strides, as many for each, by area and so fine to coarse.

    A map gets the shapes of boxes of 4 to 8 of its strides, the finest also of smaller ones, the coarsest of larger. Of
    one with fewer kinds of boxes, the rest are as wide and high as all boxes are, in those sizes.

    Args:
        sides_wh: (N, 2) of the boxes, in pixels of the network's input.
        strides: of the maps, fine to coarse.
        each: shapes of a map, at most as many as there are boxes of different sides.

    Example:
        >>> plan_maps(torch.tensor([[10.0, 10.0], [12.0, 12.0], [100.0, 50.0]]), [8, 16], 1).tolist()
        [[11.0, 11.0], [100.0, 50.0]]
    """
    boxes = sides_wh[sides_wh.prod(1) > 0]
    least = _LEAST * torch.tensor(strides, dtype=torch.float32)
    number = (boxes.prod(1).sqrt()[:, None] >= least[1:]).sum(1)
    of_all = plan(boxes, each).sides_wh
    shares = (torch.arange(len(of_all)) + 0.5) / len(of_all)
    spread = of_all * ((_MOST / _LEAST) ** shares / of_all.prod(1).sqrt())[:, None]  # of sides 1 to 2
    shapes = []
    for i, low in enumerate(least.tolist()):
        of_map = plan(boxes[number == i], each).sides_wh if (number == i).any() else of_all[:0]
        shapes.append(torch.cat([of_map, spread * low])[:each])
    return _by_area(torch.cat(shapes))


def best_iou(boxes: Tensor, anchors: Tensor, level: Tensor) -> Tensor:
    """(N,) IoU of each box (N, 4) with the anchor (A, 4) that overlaps it most, both where they stand.

    Those of one shape on one map `level` (A,) stand in rows and columns: the nearest of them overlaps most, so that no
    other is looked at.

    >>> anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 0.0, 8.0, 4.0]])
    >>> best_iou(torch.tensor([[2.0, 0.0, 6.0, 4.0], [4.0, 0.0, 8.0, 4.0]]), anchors, torch.tensor([0, 0]))
    tensor([0.3333, 1.0000])
    """
    boxes, anchors = wide(boxes), wide(anchors)
    best, centre = boxes.new_zeros(len(boxes)), (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = ((anchors[:, 2:] - anchors[:, :2]) * 100).round()  # to a hundredth of a pixel
    kinds, number = torch.cat([level[:, None].to(sides), sides], dim=1).unique(dim=0, return_inverse=True)
    for kind in range(len(kinds)):
        of_kind = anchors[number == kind]
        size = of_kind[0, 2:] - of_kind[0, :2]
        low = torch.stack([_nearest(of_kind[:, i], centre[:, i] - size[i] / 2) for i in (0, 1)], dim=1)
        shared = torch.minimum(boxes[:, 2:], low + size) - torch.maximum(boxes[:, :2], low)
        shared = shared.clamp(min=0).prod(1)
        union = areas(boxes) + size.prod() - shared
        best = torch.maximum(best, shared / union.clamp(min=torch.finfo(union.dtype).tiny))
    return best


def _nearest(ends: Tensor, wanted: Tensor) -> Tensor:
    """(N,) of the values (M,) those nearest to `wanted` (N,)."""
    ordered = ends.unique()
    return ordered[torch.bucketize(wanted.contiguous(), (ordered[1:] + ordered[:-1]) / 2)]


def _moved(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Each anchor at the median of its boxes."""
    value, nearest = iou_of_sides(boxes, anchors).max(1)
    worst = iter(boxes[value.argsort(stable=True)])
    members = [boxes[nearest == number] for number in range(len(anchors))]
    return torch.stack([one.quantile(0.5, dim=0) if len(one) else next(worst) for one in members])


def _by_area(sides_wh: Tensor) -> Tensor:
    """The rows by area, of equal ones by width."""
    ordered = sides_wh[sides_wh[:, 0].argsort(stable=True)]
    return ordered[ordered.prod(1).argsort(stable=True)]
