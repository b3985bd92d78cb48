"""From what a detector gives to boxes: proposals for its second stage, and the answer for an image.

Sources: Ren et al. 2015, arXiv:1506.01497, section 3.3; torchvision 0.28, models/detection, whose order this keeps.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.ops.boxes import decode
from unpool.ops.layout import Layout
from unpool.ops.phases import phase
from unpool.tasks.detection_practice import Practice, Proposing
from unpool.types import AnchoredBoxes, ClassifiedRegions, Prediction, ProposedRegions

LEAST_SIDE = 1e-2  # pixels of the input: of a box of an answer


class Selection(NamedTuple):
    """The answer for one image, the best first.

    Attributes:
        boxes: (N, 4) xyxy on the network's input.
        labels: (N,) class of each.
        scores: (N,) 0..1.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor


class Scored(NamedTuple):
    """What a detector of one stage says of all it looks at in an image, before any of it is left out.

    Attributes:
        boxes: (M, 1, 4) xyxy on the network's input.
        scores: (M, K), 0..1.
    """

    boxes: Tensor
    scores: Tensor

    def above(self, score: float) -> Tensor:
        """(N, 4) the boxes of which some class has a higher score, the best first."""
        best = self.scores.amax(1)
        order = best.argsort(descending=True, stable=True)
        return self.boxes[order[best[order] > score], 0]


@torch.no_grad()
@phase("proposals")
def propose(output: ProposedRegions, valid_xyxy: Tensor, practice: Proposing, *, is_training: bool) -> list[Tensor]:
    """B times (R, 4): the regions of each image worth a second look, on the network's input; no gradient goes back.

    Boxes are clipped to what shows the image. Where none is left, the whole image is the only one.

    Args:
        output: of the first stage.
        valid_xyxy: (B, 4) the part of the input that shows each image.
        practice: numbers to go by.
        is_training: which of the numbers.
    """
    before = practice.train_candidates if is_training else practice.candidates
    after = practice.train_most if is_training else practice.most
    maps = [(output.level == number).nonzero()[:, 0] for number in range(int(output.level.max()) + 1)]
    proposals = []
    for scores, deltas, valid in zip(output.objectness, output.deltas, valid_xyxy, strict=True):
        chosen = torch.cat([one[scores[one].topk(min(before, len(one))).indices] for one in maps])
        boxes = clip(decode(deltas[chosen], output.anchors[chosen]), valid)
        is_large = _are_large(boxes, practice.least_side)
        boxes, chosen = boxes[is_large], chosen[is_large]
        kept = _unsuppressed(boxes, scores[chosen], output.level[chosen], practice.nms)[:after]
        proposals.append(boxes[kept] if len(kept) else valid[None].to(boxes))
    return proposals


@phase("nms")
def answer_one_stage(
    output: AnchoredBoxes,
    valid_xyxy: Tensor,
    practice: Practice,
    *,
    weights: Sequence[float],
    num_classes: int,
) -> list[Selection]:
    """The answer for each image of a batch from a detector of one stage."""
    scored = score_anchors(output, weights=weights, num_classes=num_classes)
    return [select(*one, valid, practice, level=output.level) for one, valid in zip(scored, valid_xyxy, strict=True)]


def score_anchors(output: AnchoredBoxes, *, weights: Sequence[float], num_classes: int) -> list[Scored]:
    """The boxes of all anchors and their scores, image by image."""
    is_exclusive = output.scores.shape[2] == num_classes + 1
    return [
        Scored(
            decode(deltas, output.anchors, weights)[:, None],
            logits.softmax(1)[:, 1:] if is_exclusive else logits.sigmoid(),
        )
        for logits, deltas in zip(output.scores, output.deltas, strict=True)
    ]


@phase("nms")
def answer_two_stages(
    output: ClassifiedRegions,
    proposals: Sequence[Tensor],
    valid_xyxy: Tensor,
    practice: Practice,
    *,
    weights: Sequence[float],
    is_exclusive: bool = True,
) -> list[Selection]:
    """The answer for each image of a batch from what the second stage says of its proposals.

    Margins of independent classes become scores by the logistic function, which keeps their order.
    """
    counts = [len(one) for one in proposals]
    scores = output.scores.softmax(1)[:, 1:] if is_exclusive else output.scores.sigmoid()  # (R, K)
    boxes = torch.cat(list(proposals))[:, None]  # (R, 1, 4)
    if output.deltas is not None:
        boxes = decode(output.deltas[:, -scores.shape[1] :], boxes, weights)  # (R, K, 4)
    parts = zip(boxes.split(counts), scores.split(counts), valid_xyxy, strict=True)
    return [select(*part, practice) for part in parts]


def select(
    boxes: Tensor, scores: Tensor, valid_xyxy: Tensor, practice: Practice, *, level: Tensor | None = None
) -> Selection:
    """The best boxes of an image, clipped to it, without those that overlap a better one of their class.

    Args:
        boxes: (M, K, 4), or (M, 1, 4) where all classes have one.
        scores: (M, K), 0..1.
        valid_xyxy: (4,) what of the input shows the image.
        practice: numbers to go by.
        level: (M,) the map of each, where there are several.
    """
    at, labels = (scores > practice.score).nonzero().unbind(1)
    values = scores[at, labels]
    if practice.candidates_of_map is not None and level is not None:
        best = _best_of_each(values, level[at], practice.candidates_of_map)
        at, labels, values = at[best], labels[best], values[best]
    if practice.candidates_of_class is not None:
        best = _best_of_each(values, labels, practice.candidates_of_class)
        at, labels, values = at[best], labels[best], values[best]
    chosen = clip(boxes[at, labels if boxes.shape[1] > 1 else 0], valid_xyxy)
    is_large = _are_large(chosen, LEAST_SIDE)
    chosen, labels, values = chosen[is_large], labels[is_large], values[is_large]
    kept = _unsuppressed(chosen, values, labels, practice.nms)[: practice.most]
    return Selection(chosen[kept], labels[kept], values[kept])


def on_images(selected: Sequence[Selection], layout: Layout) -> Prediction:
    """Answers on the network's input as a prediction on the images: lists of B."""
    return {
        "boxes": on_image([one.boxes for one in selected], layout),
        "labels": [one.labels for one in selected],
        "score": [one.scores for one in selected],
    }


def on_image(boxes: Sequence[Tensor], layout: Layout) -> list[Tensor]:
    """Boxes on the network's input as boxes on the images, cut off at their borders."""
    ends = [torch.cat([size.new_zeros(2), size.flip(0)]).float() for size in layout.size_hw]
    return [clip(one, end) for one, end in zip(layout.boxes_to_image(boxes), ends, strict=True)]


def join_boxes(answers: Sequence[Prediction], practice: Practice) -> Prediction:
    """The boxes of several answers, the best first, without those that overlap a better one of their class.

    Args:
        answers: boxes, labels, score and what else there is of each box, lists of B.
        practice: of the first network: how much boxes may overlap, and how many there may be.
    """
    joined: Prediction = {key: [] for key in answers[0]}
    for i in range(len(answers[0]["boxes"])):
        together = {key: torch.cat([one[key][i] for one in answers]) for key in joined}
        kept = _unsuppressed(together["boxes"], together["score"], together["labels"], practice.nms)[: practice.most]
        for key, values in together.items():
            joined[key].append(values[kept])
    return joined


def clip(boxes: Tensor, valid_xyxy: Tensor) -> Tensor:
    """Boxes (N, 4) cut off where the part of the input (4,) ends that shows the image.

    >>> clip(torch.tensor([[0.0, 0.0, 9.0, 9.0]]), torch.tensor([2.0, 1.0, 8.0, 12.0])).tolist()
    [[2.0, 1.0, 8.0, 9.0]]
    """
    low, high = valid_xyxy.to(boxes).split(2)
    return torch.cat([torch.minimum(torch.maximum(part, low), high) for part in boxes.split(2, dim=1)], dim=1)


def _unsuppressed(boxes: Tensor, scores: Tensor, kinds: Tensor, most_iou: float) -> Tensor:
    """Positions of the boxes that overlap no better one of their kind by more, the best first.

    torchvision moves each kind beside the others, by its number times the largest position: of a thousand kinds on an
    image of 1,000 pixels nothing less than a tenth of a pixel would be left of float32.
    """
    from torchvision.ops import batched_nms  # takes seconds to import, with torch's compiler

    return batched_nms(boxes.double(), scores.double(), kinds, most_iou)


def _are_large(boxes: Tensor, least: float) -> Tensor:
    return ((boxes[:, 2:] - boxes[:, :2]) >= least).all(1)


def _best_of_each(values: Tensor, kinds: Tensor, most: int) -> Tensor:
    """Positions of the best `most` values of each kind, in their order where a kind has no more."""
    if len(values) <= most:
        return torch.arange(len(values), device=values.device)
    parts = []
    for kind in kinds.unique():
        positions = (kinds == kind).nonzero()[:, 0]
        if len(positions) > most:
            positions = positions[values[positions].topk(most).indices]
        parts.append(positions)
    return torch.cat(parts)
