"""Which box each anchor answers for, and which anchors a loss counts.

Regions of a second stage are matched as anchors are. Memory is bounded: the overlaps of many boxes and anchors are
computed in parts.

Sources: Ren et al. 2015, arXiv:1506.01497, section 3.1.2; Liu et al. 2016, arXiv:1512.02325, section 2.2.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.ops.boxes import areas, iou, overlaps

BACKGROUND, LEFT_OUT = -1, -2  # in place of the number of a box: answers for none; counts nowhere
Best = Literal["none", "every", "one"]
COVERED = 0.5  # share of an anchor within a box that is not counted from which on it is no background
_AT_ONCE = 2**22  # overlaps
_KEPT = 1024  # anchors that a box remembers at once


def match(anchors: Tensor, boxes: Tensor, *, positive: float, negative: float, best: Best = "none") -> Tensor:
    """(A,) int64: the number of the box that each anchor answers for, BACKGROUND, or LEFT_OUT.

    An anchor answers for the box that it overlaps most, of equal ones the first, where their IoU is at least
    `positive`. It is background where that IoU is below `negative`, and left out in between.

    Args:
        anchors: (A, 4).
        boxes: (N, 4), N may be 0.
        positive: least IoU of the first kind.
        negative: IoU from which on an anchor is no background, at most `positive`.
        best: "every" adds the anchors that overlap a box as no other does, each for the box that it overlaps most
            itself (Faster R-CNN). "one" gives each box an anchor that is its alone, the pair that overlaps most first
            (SSD), so that no box is left without. Nothing adds an anchor that does not touch the box.

    Example:
        >>> anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 8.0], [9.0, 9.0, 12.0, 12.0]])
        >>> match(anchors, torch.tensor([[0.0, 0.0, 4.0, 3.0]]), positive=0.7, negative=0.3)
        tensor([ 0, -2, -1])
    """
    if not len(boxes) or not len(anchors):
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    tables = _Tables(boxes, anchors)
    most, nearest = (torch.cat(parts) for parts in zip(*(table.max(0) for table in tables), strict=True))
    is_between = torch.where(most < negative, BACKGROUND, LEFT_OUT)
    matches = torch.where(most >= positive, nearest, is_between)
    if best == "every":
        highest = torch.stack([table.amax(1) for table in tables]).amax(0)[:, None]  # (N, 1)
        is_best = torch.cat([((table == highest) & (table > 0)).any(0) for table in tables])
        return torch.where(is_best, nearest, matches)
    if best == "one":
        chosen = _one_each(tables)
        has_one = (chosen >= 0).nonzero()[:, 0]
        matches[chosen[has_one]] = has_one
    return matches


class _Tables:
    """IoU (N, a) of all boxes with some anchors after the other, as often as they are asked for."""

    def __init__(self, boxes: Tensor, anchors: Tensor) -> None:
        self.boxes, self.anchors = boxes, anchors
        self._parts = anchors.split(max(1, _AT_ONCE // len(boxes)))
        self._kept = iou(boxes, anchors) if len(self._parts) == 1 else None

    def __iter__(self) -> Iterator[Tensor]:
        if self._kept is not None:
            yield self._kept
            return
        for part in self._parts:
            yield iou(self.boxes, part)

    def row(self, number: int) -> Tensor:
        """(A,) IoU of one box."""
        return iou(self.boxes[number : number + 1], self.anchors)[0]


def _one_each(tables: _Tables) -> Tensor:
    """(N,) the anchor of each box alone, the highest IoU choosing first; -1 where none that is left touches it."""
    tops = [table.max(1) for table in tables]
    starts = torch.tensor([0, *(table.shape[1] for table in tables)]).cumsum(0)[:-1]
    values = torch.stack([top.values for top in tops])  # (parts, N)
    part = values.argmax(0)
    at = torch.stack([top.indices.cpu() + start for top, start in zip(tops, starts, strict=True)])
    wanted = at.gather(0, part.cpu()[None])[0].tolist()
    waiting = [(-value, number) for number, value in enumerate(values.amax(0).tolist()) if value > 0]
    heapify(waiting)
    is_taken = np.zeros(len(tables.anchors), bool)
    others: dict[int, Iterator[tuple[float, int]]] = {}
    chosen = torch.full((len(wanted),), -1)
    while waiting:
        _, number = heappop(waiting)
        if not is_taken[wanted[number]]:
            is_taken[wanted[number]], chosen[number] = True, wanted[number]
            continue
        if number not in others:  # a box that overlaps it more was first: this one waits for the best of the others
            others[number] = _free_anchors(tables, number, is_taken)
        value, wanted[number] = next(others[number], (0.0, -1))
        if value > 0:
            heappush(waiting, (-value, number))
    return chosen.to(tables.anchors.device)


def _free_anchors(tables: _Tables, number: int, is_taken: NDArray[np.bool_]) -> Iterator[tuple[float, int]]:
    """IoU and number of the anchors that touch a box, the best first, without those that are taken by then."""
    while True:
        anchors, values = _best(tables.row(number).double().cpu().numpy() * ~is_taken)
        if not len(anchors):
            return
        for anchor, value in zip(anchors, values, strict=True):
            if not is_taken[anchor]:
                yield float(value), int(anchor)


def _best(row: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The positions of the highest numbers above 0, of equal ones the first, and these numbers."""
    positive = np.flatnonzero(row)
    best = positive[np.argsort(-row[positive], kind="stable")[:_KEPT]]
    return best, row[best]


def leave_out(matches: Tensor, anchors: Tensor, others: Tensor) -> Tensor:
    """The matches (A,), background anchors LEFT_OUT where at least half of them lies in one of `others` (M, 4).

    Things lie there that no loss counts: a crowd, or what is difficult to see.

    >>> anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [9.0, 9.0, 12.0, 12.0]])
    >>> leave_out(torch.tensor([-1, -1]), anchors, torch.tensor([[0.0, 0.0, 2.0, 4.0]]))
    tensor([-2, -1])
    """
    if not len(others) or not len(anchors):
        return matches
    parts = anchors.split(max(1, _AT_ONCE // len(others)))
    within = torch.cat([overlaps(others, part).amax(0) for part in parts])
    is_covered = (within >= COVERED * areas(anchors)) & (within > 0)
    return torch.where((matches == BACKGROUND) & is_covered, LEFT_OUT, matches)


def draw_balanced(
    matches: Tensor, *, count: int, share: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Positions of anchors for boxes, at most `share` of `count`, and of background ones that fill up to `count`.

    Args:
        matches: (A,) as `match` returns them.
        count: anchors to draw; fewer where there are not so many.
        share: of anchors for boxes, at most.
        generator: on the host.

    Example:
        >>> draw_balanced(torch.tensor([-1, 0, -2, -1, -1]), count=2, share=0.5, generator=torch.Generator())[0]
        tensor([1])
    """
    for_boxes = _drawn((matches >= 0).nonzero()[:, 0], int(count * share), generator)
    return for_boxes, _drawn((matches == BACKGROUND).nonzero()[:, 0], count - len(for_boxes), generator)


def _drawn(positions: Tensor, most: int, generator: torch.Generator | None) -> Tensor:
    if len(positions) <= most:
        return positions
    return positions[torch.randperm(len(positions), generator=generator)[:most].to(positions.device)]


def hardest(losses: Tensor, matches: Tensor, *, ratio: float) -> Tensor:
    """(A,) bool: anchors for boxes, and of those of background the ones of the highest loss, `ratio` times as many.

    Where none is for a box, background is counted as if one were: an image without things is learned from too.

    Args:
        losses: (A,) what each anchor costs.
        matches: (A,) as `match` returns them.
        ratio: background anchors by anchor for a box, at most.

    Example:
        >>> hardest(torch.tensor([0.5, 0.1, 0.9, 0.7]), torch.tensor([-1, 0, -2, -1]), ratio=1.0)
        tensor([False,  True, False,  True])
    """
    counts = matches >= 0
    is_background = matches == BACKGROUND
    most = min(int(ratio * max(int(counts.sum()), 1)), int(is_background.sum()))
    counts[losses.masked_fill(~is_background, -torch.inf).topk(most).indices] = True
    return counts
