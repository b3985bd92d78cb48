"""Which detections are right at IoU 0.5, and the precision that they reach at each recall.

Two rules: COCO's, by which a detection takes the best thing that no better one has, of the 100 best of a class in an
image; and that of VOC's development kit, by which it goes to the thing it overlaps most and is wrong where that is
taken. Detections that match an ignored thing, and those half of whose pixels lie in a crowd, are not counted. VOC has
no crowds.

Source: cocodataset.org, "Detection evaluation"; Everingham et al. 2010, "The PASCAL visual object classes challenge".
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unpool.metrics.detection_record import DetectionRecord, Detections
from unpool.ops.boxes import COUNTED, areas, iou, overlaps

Rule = Literal["coco", "voc"]
RIGHT = 0.5  # the least IoU
WRONG, UNCOUNTED = -1, -2  # in place of the index of a thing
_RECALLS = np.linspace(0, 1, 101)


def match(image: Detections, rule: Rule = "coco") -> NDArray[np.int64]:
    """Returns for each detection (M,) the index of the thing that it finds, `WRONG` or `UNCOUNTED`.

    Example:
        >>> record, box = DetectionRecord(["cat"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [box], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[20, 20]])}
        >>> two = {"boxes": [box.repeat(2, 1)], "labels": [torch.tensor([0, 0])], "score": [torch.tensor([0.9, 0.5])]}
        >>> record.update(two, truth | {"index": torch.tensor([0])})
        >>> match(record.images[0]).tolist()
        [0, -1]
    """
    matched = np.full(len(image.labels), WRONG, np.int64)
    shares, ignored, crowd = _shares(image), image.truth.ignored, image.truth.crowd
    labels = np.unique(image.labels)
    if len(image.labels) <= COUNTED:  # else the limit holds for classes of which there is nothing, too
        labels = np.intersect1d(labels, image.truth.labels)
    for label in labels:
        rows, columns = np.flatnonzero(image.labels == label), np.flatnonzero(image.truth.labels == label)
        by_rule = _by_coco if rule == "coco" else _by_voc
        columns_of_rows = by_rule(shares[np.ix_(rows, columns)], ignored[columns], crowd[columns])
        matched[rows] = [columns[n] if n >= 0 else n for n in columns_of_rows]
    return matched


def _shares(image: Detections) -> NDArray[np.float64]:
    """(M, N) IoU of detections and things; of crowds the share of the detection that is in them."""
    boxes, things = torch.from_numpy(image.boxes), torch.from_numpy(image.truth.boxes)
    inside = overlaps(boxes, things) / areas(boxes).clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    return np.where(image.truth.crowd, inside.numpy(), iou(boxes, things).numpy())


def _by_coco(shares: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]) -> list[int]:
    """The column of each row, the best detection first; of equal things the last, as pycocotools takes them."""
    is_free, near = np.ones(len(ignored), bool), shares >= RIGHT
    matched = [WRONG] * len(shares[:COUNTED]) + [UNCOUNTED] * len(shares[COUNTED:])
    for row in np.flatnonzero(near[:COUNTED].any(1)).tolist():
        for group in (is_free & ~ignored, (is_free | crowd) & ignored):
            columns = np.flatnonzero(group & near[row])
            if len(columns):
                best = int(columns[len(columns) - 1 - shares[row, columns][::-1].argmax()])
                is_free[best] = False
                matched[row] = UNCOUNTED if ignored[best] else best
                break
    return matched


def _by_voc(shares: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]) -> list[int]:
    """The column of each row, the best detection first; of equal things the first."""
    is_free, near = np.ones(len(ignored), bool), shares >= RIGHT
    matched = [WRONG] * len(shares)
    for row in np.flatnonzero(near.any(1)).tolist():
        best = int(np.where(crowd, 0.0, shares[row]).argmax())
        if near[row, best] and not crowd[best]:
            matched[row] = UNCOUNTED if ignored[best] else best if is_free[best] else WRONG
            is_free[best] = False
        if matched[row] == WRONG and (crowd & near[row]).any():
            matched[row] = UNCOUNTED
    return matched


class Outcomes(NamedTuple):
    """The n detections of a set that count, image after image, and how many things there are to detect.

    Attributes:
        labels: (n,) int64.
        score: (n,) float64.
        is_right: (n,) bool.
        things: (K,) int64 of each class.
    """

    labels: NDArray[np.int64]
    score: NDArray[np.float64]
    is_right: NDArray[np.bool_]
    things: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[tuple[NDArray, NDArray, NDArray]], things: NDArray[np.int64]) -> "Outcomes":
        """Returns those of images with labels, score and is_right each."""
        none = (np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.bool_))
        labels, score, is_right = (np.concatenate(columns) for columns in zip(none, *parts, strict=True))
        return cls(labels, score, is_right, things)

    def ranked(self, label: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Returns which detections of a class are right, the best first, and their scores."""
        of_class = np.flatnonzero(self.labels == label)
        order = of_class[np.argsort(-self.score[of_class], kind="stable")]
        return self.is_right[order], self.score[order]


def outcomes(record: DetectionRecord, rule: Rule = "coco") -> Outcomes:
    """Returns the detections of a whole set, and which of them are right.

    Example:
        >>> outcomes(DetectionRecord(["cat", "dog"])).things.tolist()
        [0, 0]
    """
    parts, things = [], np.zeros(len(record.classes), np.int64)
    for image in record.ordered():
        matched = match(image, rule)
        keep = matched != UNCOUNTED
        parts.append((image.labels[keep], image.score[keep], matched[keep] >= 0))
        things += np.bincount(image.truth.labels[~image.truth.ignored], minlength=len(things))
    return Outcomes.joined(parts, things)


class Curve(NamedTuple):
    """Precision of one class at each of 101 recalls from 0 to 1, and the score from which on detections reach it.

    Attributes:
        recall: 0, 0.01, ... 1.
        precision: the highest at this recall or a higher one; 0 where it is not reached.
        score: None where it is not reached.
    """

    recall: list[float]
    precision: list[float]
    score: list[float | None]

    @property
    def average(self) -> float:
        """Average precision."""
        return sum(self.precision) / len(self.precision)


def curves(record: DetectionRecord, *, rule: Rule = "coco") -> dict[str, Curve]:
    """Returns the curve at IoU 0.5 of each class of which there is a thing; by COCO's rule its average is AP50.

    Example:
        >>> record, box = DetectionRecord(["cat"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [box], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[20, 20]])}
        >>> record.update(truth | {"score": [torch.tensor([0.75])]}, truth | {"index": torch.tensor([0])})
        >>> curve = curves(record)["cat"]
        >>> curve.recall[-1], curve.precision[-1], curve.score[-1]
        (1.0, 1.0, 0.75)
    """
    results = outcomes(record, rule)
    return {name: curve_of(results, label) for label, name in enumerate(record.classes) if results.things[label]}


def curve_of(results: Outcomes, label: int) -> Curve:
    """Returns the curve of a class of which there is a thing.

    Example:
        >>> labels, right = np.zeros(2, np.int64), np.array([True, False])
        >>> curve = curve_of(Outcomes(labels, np.array([0.9, 0.5]), right, things=np.array([2])), 0)
        >>> curve.precision[50], curve.precision[51], round(curve.average, 2)
        (1.0, 0.0, 0.5)
    """
    right, score = results.ranked(label)
    recall, precision = reached(right, int(results.things[label]))
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(recall, _RECALLS)
    is_reached = first < len(right)
    return Curve(
        recall=_RECALLS.tolist(),
        precision=[float(highest[n]) if known else 0.0 for n, known in zip(first, is_reached, strict=True)],
        score=[float(score[n]) if known else None for n, known in zip(first, is_reached, strict=True)],
    )


def reached(right: NDArray[np.bool_], things: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns recall and precision (n,) after each detection, the best first.

    Example:
        >>> [share.tolist() for share in reached(np.array([True, False]), things=4)]
        [[0.25, 0.25], [1.0, 0.5]]
    """
    hits = right.cumsum()
    return hits / things, hits / np.arange(1, len(right) + 1)
