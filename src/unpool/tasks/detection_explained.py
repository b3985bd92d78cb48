"""The score of one box of a detector's answer, as a function of the image."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError
from unpool.ops.boxes import decode
from unpool.ops.layout import Layout
from unpool.task import Explained
from unpool.tasks.detection_answers import Scored, clip, score_anchors
from unpool.tasks.detection_grid import score_cells
from unpool.tasks.detection_output import Seen, look
from unpool.tasks.explaining import index_named, with_images
from unpool.types import AnchoredBoxes, Batch, GridBoxes, Prediction


def chosen_box(answer: Prediction, target: str | None, classes: Sequence[str]) -> int:
    """The number of the box that is explained, among those of an answer about one image.

    Args:
        answer: lists of one image, the best first.
        target: its number in the answer, or a class, whose best box is taken; None takes the best of all.
        classes: names.

    Raises:
        RecipeError: there is no such box.
    """
    labels = answer["labels"][0].tolist()
    if not labels:
        raise RecipeError("the detector answers with no box in this image, so that there is none to explain")
    if target is None:
        return 0
    if target.isascii() and target.isdigit():
        if int(target) < len(labels):
            return int(target)
        raise RecipeError(f"the answer has boxes 0 to {len(labels) - 1}, and {target} is none of them")
    label = index_named(target, classes, what="class")
    if label not in labels:
        raise RecipeError(f"the answer has no box of {classes[label]}: give the number of one of its {len(labels)}")
    return labels.index(label)


def explained_box(
    model: nn.Module, inputs: Batch, answer: Prediction, number: int, *, classes: Sequence[str]
) -> Explained:
    """The score of a box: the logit of its class by the anchor or region that it came from, before any softmax.

    Of cells it is the confidence times the probability of the class. The anchor, region or predictor is that of the
    answer, whatever is done to the image.

    Args:
        model: a detector in evaluation mode.
        inputs: of one image.
        answer: of the same.
        number: of the box in the answer.
        classes: names.
    """
    box, label = answer["boxes"][0][number], int(answer["labels"][0][number])
    score = float(answer["score"][0][number])
    layout = Layout.of(inputs)
    (on_input,) = layout.boxes_to_input([box[None]])
    with torch.no_grad():
        seen = look(model, inputs, num_classes=len(classes))
        value = _value(seen, len(classes), layout.input_hw, on_input[0], label=label, score=score)

    def of_images(image: Tensor) -> Tensor:
        return value(look(model, with_images(inputs, image), num_classes=len(classes)))

    return Explained(f"box {number}, {classes[label]} {score:.2f}", of_images)


def _value(
    seen: Seen, num_classes: int, input_hw: tuple[int, int], box: Tensor, *, label: int, score: float
) -> Callable[[Seen], Tensor]:
    """The function from what a detector gives for images to the score of the box in each."""
    output, weights, valid = seen.output, seen.detector.box_weights, seen.valid_xyxy[0]
    if isinstance(output, AnchoredBoxes):
        scored = score_anchors(output, weights=weights, num_classes=num_classes)[0]
        at = _nearest(scored, valid, box, label=label, score=score)
        column = label + output.scores.shape[2] - num_classes  # behind the background, where there is one
        return lambda other: other.output.scores[:, at, column]  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(output, GridBoxes):
        at = _nearest(score_cells(output, input_hw=input_hw)[0], valid, box, label=label, score=score)

        def of_cell(other: Seen) -> Tensor:
            cells = score_cells(other.output, input_hw=input_hw)  # pyright: ignore[reportArgumentType]
            return torch.stack([one.scores[at, label] for one in cells])

        return of_cell
    regions = seen.proposals[0]
    classified = seen.classify([regions])
    scores = classified.scores[:, -num_classes:]
    is_exclusive = classified.scores.shape[1] > num_classes
    shares = classified.scores.softmax(1)[:, 1:] if is_exclusive else scores.sigmoid()
    boxes = regions[:, None]
    if classified.deltas is not None:
        boxes = decode(classified.deltas[:, -num_classes:], boxes, weights)
    at = _nearest(Scored(boxes, shares), valid, box, label=label, score=score)
    region = regions[at : at + 1]

    def of_region(other: Seen) -> Tensor:
        return other.classify([region] * len(other.valid_xyxy)).scores[:, -num_classes:][:, label]

    return of_region


def _nearest(scored: Scored, valid_xyxy: Tensor, box: Tensor, *, label: int, score: float) -> int:
    """The index, among all that a detector looks at, of that whose box and score are those of an answer."""
    boxes = scored.boxes[:, label if scored.boxes.shape[1] > 1 else 0]
    apart = (clip(boxes, valid_xyxy) - box).abs().amax(1)
    return int((apart + (scored.scores[:, label] - score).abs()).argmin())
