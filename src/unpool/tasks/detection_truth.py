"""The boxes of a batch as a detector's loss sees them: on the network's input, with what no loss counts apart."""

from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.layout import Layout
from unpool.ops.matching import BACKGROUND, LEFT_OUT, Best, leave_out, match
from unpool.types import Batch

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: neighbouring numbers go far apart


class Truth(NamedTuple):
    """What is on one image.

    Attributes:
        boxes: (N, 4) xyxy on the network's input.
        labels: (N,) class of each.
        others: (M, 4) crowds, and boxes that are difficult or empty: neither things to learn nor background.
        valid_xyxy: (4,) the part of the input that shows the image.
        rows: (N,) position of each among the boxes of the batch.
        generator: of what is drawn for this image.
    """

    boxes: Tensor
    labels: Tensor
    others: Tensor
    valid_xyxy: Tensor
    rows: Tensor
    generator: torch.Generator


def truths(batch: Batch, *, is_training: bool) -> list[Truth]:
    """Of each image of a batch; what is drawn depends on the step and the image alone, not on its batch or process.

    Outside of training every step draws the same.
    """
    layout = Layout.of(batch)
    boxes = layout.boxes_to_input([one.float() for one in batch["boxes"]])
    seed = torch.initial_seed() if is_training else 0  # the loop sets it anew for each step, in all processes alike
    index = batch.get("index", range(len(boxes)))
    return [
        _truth(batch, number, one, layout.valid_xyxy[number], seed=seed, index=int(index[number]))
        for number, one in enumerate(boxes)
    ]


def _truth(batch: Batch, number: int, boxes: Tensor, valid_xyxy: Tensor, *, seed: int, index: int) -> Truth:
    counts = (boxes[:, 2:] > boxes[:, :2]).all(1)
    for key in ("crowd", "difficult"):
        if key in batch:
            counts = counts & ~batch[key][number].bool()
    generator = torch.Generator().manual_seed((seed ^ (index + 1) * _ODD) & _MASK)
    rows = counts.nonzero()[:, 0]
    return Truth(boxes[counts], batch["labels"][number][counts], boxes[~counts], valid_xyxy, rows, generator)


def match_anchors(
    anchors: Tensor, truth: Truth, *, positive: float, negative: float, best: Best = "none", is_inside: bool = False
) -> Tensor:
    """(A,) the box of each anchor, as `ops.matching.match`; LEFT_OUT where it would be background but is not counted.

    That is where it lies in a crowd or a difficult box (`ops.matching.leave_out`), and where its centre lies on
    padding, which may mirror a thing.

    Args:
        anchors: (A, 4) on the network's input.
        truth: of the image.
        positive: see `ops.matching.match`.
        negative: the same.
        best: the same.
        is_inside: leave out what crosses the image's borders, unless all anchors do.
    """
    left, top, right, bottom = truth.valid_xyxy.to(anchors.device)
    counts = torch.ones(len(anchors), dtype=torch.bool, device=anchors.device)
    if is_inside:
        low, high = (anchors[:, :2] >= truth.valid_xyxy[:2]), (anchors[:, 2:] <= truth.valid_xyxy[2:])
        within = (low & high).all(1)
        counts = within if within.any() else counts
    matches = torch.full((len(anchors),), LEFT_OUT, device=anchors.device)
    matches[counts] = match(anchors[counts], truth.boxes, positive=positive, negative=negative, best=best)
    x, y = ((anchors[:, :2] + anchors[:, 2:]) / 2).unbind(1)
    is_beside = (x < left) | (y < top) | (x > right) | (y > bottom)
    matches = torch.where(is_beside & (matches == BACKGROUND), LEFT_OUT, matches)
    return leave_out(matches, anchors, truth.others)
