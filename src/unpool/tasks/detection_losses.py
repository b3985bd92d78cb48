"""Losses of detectors, each a sum over a batch and what it is divided by, so that batches add up.

Of one stage, all terms are divided by the anchors that answer for a box. Classes that exclude one another, K + 1
scores, are learned by cross-entropy, of background by the hardest anchors alone (SSD); independent ones, K scores, by
the focal loss (RetinaNet). Of two stages, terms are divided by the anchors or regions that were drawn (Faster R-CNN).

Differs from torchvision, which divides the focal loss image by image and takes the mean: an image of few things then
counts as much as one of many. The paper divides by anchors, as is done here, and so do several processes together.
Differs from SSD, which learns nothing from an image without things: here its hardest anchors count, as many as beside
one positive one, so that photographs against false alarms work.

Sources: Ren et al. 2015, arXiv:1506.01497; Liu et al. 2016, arXiv:1512.02325; Lin et al. 2017, arXiv:1708.02002.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot, smooth_l1_loss

from unpool.ops.boxes import encode
from unpool.ops.matching import BACKGROUND, LEFT_OUT, Best, draw_balanced, hardest, match
from unpool.tasks.detection_practice import Practice, Proposing
from unpool.tasks.detection_truth import Truth, match_anchors
from unpool.types import AnchoredBoxes, ClassifiedRegions, Losses, ProposedRegions, Term

Weights = Sequence[float]
ONES = (1.0, 1.0, 1.0, 1.0)


def one_stage_losses(
    output: AnchoredBoxes, truth: Sequence[Truth], practice: Practice, *, weights: Weights, num_classes: int
) -> Losses:
    """Terms `classes` and `boxes` of a detector of one stage.

    Args:
        output: scores (B, A, K) or (B, A, K + 1).
        truth: of each image.
        practice: numbers to go by.
        weights: of the deltas.
        num_classes: K.
    """
    is_exclusive = output.scores.shape[2] == num_classes + 1
    best = best_of(practice)
    classes, boxes, counts = [], [], []
    for scores, deltas, one in zip(output.scores, output.deltas, truth, strict=True):
        matches = match_anchors(output.anchors, one, positive=practice.positive, negative=practice.negative, best=best)
        has_box = (matches >= 0).nonzero()[:, 0]
        labels = one.labels[matches[has_box]]
        of_classes = _exclusive if is_exclusive else _independent
        classes.append(of_classes(scores, matches, has_box, labels, practice=practice))
        target = encode(one.boxes[matches[has_box]], output.anchors[has_box], weights)
        boxes.append(smooth_l1_loss(deltas[has_box], target, reduction="sum", beta=practice.beta))
        counts.append(len(has_box))
    count = torch.tensor(float(sum(counts)), device=output.scores.device)
    return {"classes": Term(torch.stack(classes).sum(), count), "boxes": Term(torch.stack(boxes).sum(), count)}


def best_of(practice: Practice) -> Best:
    """How a box gets its best anchor: one of its own where hard negatives are counted by anchor, as SSD does."""
    if not practice.best_is_positive:
        return "none"
    return "every" if practice.negatives is None else "one"


def _exclusive(scores: Tensor, matches: Tensor, has_box: Tensor, labels: Tensor, *, practice: Practice) -> Tensor:
    target = torch.zeros_like(matches)
    target[has_box] = labels + 1
    each = cross_entropy(scores, target, reduction="none")
    if practice.negatives is None:
        return each[matches != LEFT_OUT].sum()
    return each[hardest(each.detach(), matches, ratio=practice.negatives)].sum()


def _independent(scores: Tensor, matches: Tensor, has_box: Tensor, labels: Tensor, *, practice: Practice) -> Tensor:
    from torchvision.ops import sigmoid_focal_loss  # takes seconds to import, with torch's compiler

    target = torch.zeros_like(scores)
    target[has_box, labels] = 1
    counts = matches != LEFT_OUT
    return sigmoid_focal_loss(
        scores[counts], target[counts], alpha=practice.focal_alpha, gamma=practice.focal_gamma, reduction="sum"
    )


def first_stage_losses(output: ProposedRegions, truth: Sequence[Truth], practice: Proposing) -> Losses:
    """Terms `objectness` and `proposals` of the first stage, over anchors drawn for each image."""
    objectness, boxes, count = [], [], 0
    for scores, deltas, one in zip(output.objectness, output.deltas, truth, strict=True):
        matches = match_anchors(
            output.anchors,
            one,
            positive=practice.positive,
            negative=practice.negative,
            best="every",
            is_inside=practice.is_inside,
        )
        for_boxes, background = draw_balanced(
            matches, count=practice.samples, share=practice.positive_share, generator=one.generator
        )
        drawn = scores[torch.cat([for_boxes, background])]
        target = torch.zeros_like(drawn)
        target[: len(for_boxes)] = 1
        objectness.append(binary_cross_entropy_with_logits(drawn, target, reduction="sum"))
        wanted = encode(one.boxes[matches[for_boxes]], output.anchors[for_boxes])
        boxes.append(smooth_l1_loss(deltas[for_boxes], wanted, reduction="sum", beta=practice.beta))
        count += len(drawn)
    total = torch.tensor(float(count), device=output.objectness.device)
    return {
        "objectness": Term(torch.stack(objectness).sum(), total),
        "proposals": Term(torch.stack(boxes).sum(), total),
    }


class Regions(NamedTuple):
    """Regions of one image that the second stage is trained on.

    Attributes:
        boxes: (R, 4) on the network's input, those that answer for a box first.
        labels: (R,) 0 for background, else 1 + class.
        targets: (R, 4) boxes that they answer for; of background the region itself.
        rows: (P,) position of what the first P regions answer for among the boxes of the batch.
    """

    boxes: Tensor
    labels: Tensor
    targets: Tensor
    rows: Tensor


def draw_regions(proposals: Tensor, truth: Truth, practice: Practice) -> Regions:
    """Of the proposals (R, 4) of one image and its true boxes, those drawn to be trained on."""
    boxes = torch.cat([truth.boxes, proposals])
    matches = match_anchors(
        boxes,
        truth,
        positive=practice.positive,
        negative=practice.negative,
        best="every" if practice.best_is_positive else "none",
    )
    if practice.least_background and len(truth.boxes):
        least = practice.least_background
        is_far = match(boxes, truth.boxes, positive=least, negative=least) == BACKGROUND
        near = torch.where(is_far & (matches == BACKGROUND), LEFT_OUT, matches)
        matches = near if (near == BACKGROUND).any() else matches
    count = len(boxes) if practice.samples is None else practice.samples
    for_boxes, background = draw_balanced(
        matches, count=count, share=practice.positive_share, generator=truth.generator
    )
    drawn = torch.cat([for_boxes, background])
    labels, targets = torch.zeros_like(drawn), boxes[drawn]
    labels[: len(for_boxes)] = truth.labels[matches[for_boxes]] + 1
    targets[: len(for_boxes)] = truth.boxes[matches[for_boxes]]
    return Regions(boxes[drawn], labels, targets, truth.rows[matches[for_boxes]])


def second_stage_losses(
    output: ClassifiedRegions,
    regions: Sequence[Regions],
    practice: Practice,
    *,
    weights: Weights,
    is_exclusive: bool = True,
) -> Losses:
    """Terms `classes` and `boxes` of the second stage; the deltas are those of the true class alone.

    Independent classes cost their squared hinge loss; where no box is moved, there is no term `boxes`.
    """
    boxes, labels, targets, _ = (torch.cat(parts) for parts in zip(*regions, strict=True))
    has_box = labels.nonzero()[:, 0]
    count = torch.tensor(float(len(labels)), device=labels.device)
    costs = cross_entropy(output.scores, labels, reduction="sum") if is_exclusive else _hinge(output.scores, labels)
    if output.deltas is None:
        return {"classes": Term(costs, count)}
    wanted = encode(targets[has_box], boxes[has_box], weights)
    deltas = output.deltas[has_box, labels[has_box] - (0 if is_exclusive else 1)]
    return {
        "classes": Term(costs, count),
        "boxes": Term(smooth_l1_loss(deltas, wanted, reduction="sum", beta=practice.beta), count),
    }


def _hinge(margins: Tensor, labels: Tensor) -> Tensor:
    """Squared hinge loss of margins (R, K) with labels (R,), 0 for none, added."""
    signs = 2 * one_hot(labels, margins.shape[1] + 1)[:, 1:].to(margins) - 1
    return (1 - signs * margins).clamp(min=0).square().sum()
