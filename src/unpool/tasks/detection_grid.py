"""Losses and answers of a detector whose cells answer for the things whose middle lies in them (YOLO v1).

The loss is the paper's equation 3, all terms squared errors: of the middle and the roots of the sides of the predictor
that is responsible for a thing, times `box_weight`; of its confidence, whose target is its IoU with the thing; of the
confidence of every other predictor, whose target is 0, times `background_weight`; of the classes of cells with a thing.
Each term is a sum over images, divided by their number.

Where several things lie in a cell, `ops.grid.ranks_in_cells` says which are learned; the release learns one of them,
and its gradients are half of this loss's at the same rate (pjreddie/darknet, detection_layer.c).
Differs: a cell costs nothing where no thing is in it and it shows padding alone, lies in a crowd or in what is
difficult, or has the middle of such a box, which it would answer for.

Source: Redmon et al. 2016, arXiv:1506.02640, sections 2 and 2.2.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from unpool.ops.box_sides import MANY_UNREACHED, SetBoxes
from unpool.ops.boxes import areas
from unpool.ops.grid import (
    cell_boxes,
    cells_of,
    decode_cells,
    encode_in_cells,
    pairwise_iou,
    ranks_in_cells,
    responsible,
)
from unpool.ops.matching import BACKGROUND, LEFT_OUT, leave_out
from unpool.ops.phases import phase
from unpool.tasks.detection_answers import Scored, Selection, select
from unpool.tasks.detection_practice import Practice
from unpool.tasks.detection_truth import Truth
from unpool.types import GridBoxes, Losses, Term

Pair = tuple[int, int]
SHOWN = 0.5  # pixels of the image, in width and in height, from which on a cell is no padding


def grid_losses(output: GridBoxes, truth: Sequence[Truth], practice: Practice, *, input_hw: Pair) -> Losses:
    """Terms `classes`, `boxes`, `confidences` of responsible predictors and `background` of all others.

    Args:
        output: of the network.
        truth: of each image.
        practice: numbers to go by.
        input_hw: size of the network's input.
    """
    each = [_of_image(*parts, input_hw=input_hw) for parts in zip(*output, truth, strict=True)]
    count = torch.tensor(float(len(each)), device=output.classes.device)
    weights = _Sums(1.0, practice.box_weight, 1.0, practice.background_weight)
    terms = zip(_Sums._fields, zip(*each, strict=True), weights, strict=True)
    return {name: Term(torch.stack(sums).sum(), count, weight) for name, sums, weight in terms}


class _Sums(NamedTuple):
    """A number for each term: the squared errors of one image, or weights."""

    classes: Any
    boxes: Any
    confidences: Any
    background: Any


def _of_image(classes: Tensor, confidences: Tensor, boxes: Tensor, truth: Truth, *, input_hw: Pair) -> _Sums:
    """Of outputs (rows, columns, ...)."""
    grid = (classes.shape[0], classes.shape[1])
    sides = boxes.new_tensor([input_hw[1], input_hw[0]] * 2)
    things = truth.boxes / sides
    cells = cells_of(things, grid)
    ranks = ranks_in_cells(cells, areas(things), truth.labels)
    learned = ((ranks >= 0) & (ranks < boxes.shape[2])).nonzero()[:, 0]
    things, cells, ranks, labels = things[learned], cells[learned], ranks[learned], truth.labels[learned]
    predicted = decode_cells(boxes.detach()).flatten(0, 1)  # (cells, P, 4)
    predictor = responsible(predicted, things, cells, ranks)
    confidences = confidences.flatten(0, 1)
    is_background = _counts(grid, truth, sides)[:, None].expand_as(confidences).clone()
    is_background[cells, predictor] = False
    first = cells[ranks == 0]
    wanted = one_hot(labels[ranks == 0], classes.shape[2]).to(classes.dtype)
    iou = pairwise_iou(predicted[cells, predictor], things)
    return _Sums(
        classes=_squared(classes.flatten(0, 1)[first] - wanted),
        boxes=_squared(boxes.flatten(0, 1)[cells, predictor] - encode_in_cells(things, cells, grid)),
        confidences=_squared(confidences[cells, predictor] - iou),
        background=_squared(confidences[is_background]),
    )


def _squared(difference: Tensor) -> Tensor:
    return difference.square().sum()


def _counts(grid: Pair, truth: Truth, sides: Tensor) -> Tensor:
    """(cells,) bool: the cells that are background where no thing is in them."""
    cells, valid = cell_boxes(grid, device=sides.device) * sides, truth.valid_xyxy.to(sides)
    matches = torch.full((len(cells),), BACKGROUND, device=sides.device)
    matches = leave_out(matches, cells, truth.others)
    matches[cells_of(truth.others / sides, grid)] = LEFT_OUT
    shown = torch.minimum(cells[:, 2:], valid[2:]) - torch.maximum(cells[:, :2], valid[:2])
    return (matches != LEFT_OUT) & (shown > SHOWN).all(1)


@phase("nms")
def answer_grid(output: GridBoxes, valid_xyxy: Tensor, practice: Practice, *, input_hw: Pair) -> list[Selection]:
    """The answer for each image of a batch."""
    scored = score_cells(output, input_hw=input_hw)
    return [select(*one, valid, practice) for one, valid in zip(scored, valid_xyxy, strict=True)]


def score_cells(output: GridBoxes, *, input_hw: Pair) -> list[Scored]:
    """The box of each predictor, and its confidence times the probability of each class of its cell, image by image.

    Both of these are 0 to 1, also where the network gives less or more.
    """
    scores = output.confidences.clamp(0, 1)[..., None] * output.classes.clamp(0, 1)[..., None, :]  # (B, h, w, P, K)
    boxes = decode_cells(output.boxes) * output.boxes.new_tensor([input_hw[1], input_hw[0]] * 2)
    return [Scored(*pair) for pair in zip(boxes.flatten(1, 3)[:, :, None], scores.flatten(1, 3), strict=True)]


def crowded_cells(set_boxes: SetBoxes, grid: Pair, most: int) -> str:
    """That many things of a training set share a cell with others and are not learned, in words; empty if few do.

    Args:
        set_boxes: of the training set.
        grid: rows and columns.
        most: things of one class that a cell learns.
    """
    if not len(set_boxes.boxes):
        return ""
    shares = set_boxes.boxes / set_boxes.input_hw.flip(1).repeat(1, 2)
    cells = cells_of(shares, grid) + set_boxes.samples * grid[0] * grid[1]
    ranks = ranks_in_cells(cells, areas(shares), set_boxes.labels)
    lost = int(((ranks < 0) | (ranks >= most)).sum())
    if lost / len(ranks) < MANY_UNREACHED:
        return ""
    return (
        f"{lost} of {len(ranks)} boxes of the training set lie in one cell with larger things and are not learned: "
        f"each of {grid[0]}x{grid[1]} cells learns {most} things of one class; a finer model.grid learns more of them"
    )
