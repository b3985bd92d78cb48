"""Which detections are right at IoU 0.5, and the precision that they reach at each recall.

Two rules: COCO's, by which a detection takes the best thing that no better one has, of the 100 best of a class in an
image; and that of VOC's development kit, by which it goes to the thing it overlaps most and is wrong where that is
taken. Detections that match an ignored thing, and those half of whose pixels lie in a crowd, are not counted. VOC has
no crowds.

Source: cocodataset.org, "Detection evaluation"; Everingham et al. 2010, "The PASCAL visual object classes challenge".
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unpool.metrics.detection_record import DetectionRecord, Detections
from unpool.ops.boxes import areas, iou, overlaps

Rule = Literal["coco", "voc"]
RIGHT = 0.5  # the least IoU
WRONG, UNCOUNTED = -1, -2  # in place of the index of a thing
_MOST = 100  # detections of a class in an image that COCO counts
_RECALLS = np.linspace(0, 1, 101)


def match(image: Detections, rule: Rule = "coco") -> NDArray[np.int64]:
    """Returns for each detection (M,) the index of the thing that it finds, `WRONG` or `UNCOUNTED`."""
    matched = np.full(len(image.labels), WRONG, np.int64)
    for label in np.unique(image.labels):
        rows, columns = np.flatnonzero(image.labels == label), np.flatnonzero(image.truth.labels == label)
        shares = _shares(image, rows, columns)
        ignored, crowd = image.truth.ignored[columns], image.truth.crowd[columns]
        taken = (_by_coco if rule == "coco" else _by_voc)(shares, ignored, crowd)
        matched[rows] = [columns[n] if n >= 0 else n for n in taken]
    return matched


def _shares(image: Detections, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.float64]:
    """(m, n) IoU of detections and things; of crowds the share of the detection that is in them."""
    boxes, things = torch.from_numpy(image.boxes[rows]), torch.from_numpy(image.truth.boxes[columns])
    inside = overlaps(boxes, things) / areas(boxes).clamp(min=torch.finfo(torch.float64).tiny)[:, None]
    return np.where(image.truth.crowd[columns], inside.numpy(), iou(boxes, things).numpy())


def _by_coco(shares: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]) -> list[int]:
    """The column of each row, the best detection first; of equal things the last, as pycocotools takes them."""
    is_free, matched = np.ones(len(ignored), bool), []
    for row in shares[:_MOST]:
        result = WRONG
        for group in (is_free & ~ignored, (is_free | crowd) & ignored):
            columns = np.flatnonzero(group & (row >= RIGHT))
            if len(columns):
                best = columns[len(columns) - 1 - row[columns][::-1].argmax()]
                is_free[best] = False
                result = UNCOUNTED if ignored[best] else int(best)
                break
        matched.append(result)
    return matched + [UNCOUNTED] * (len(shares) - len(matched))


def _by_voc(shares: NDArray[np.float64], ignored: NDArray[np.bool_], crowd: NDArray[np.bool_]) -> list[int]:
    """The column of each row, the best detection first; of equal things the first."""
    is_free, matched = np.ones(len(ignored), bool), []
    for row in shares:
        best = int(np.where(crowd, 0.0, row).argmax()) if len(row) else 0
        result = WRONG
        if len(row) and row[best] >= RIGHT and not crowd[best]:
            result = UNCOUNTED if ignored[best] else best if is_free[best] else WRONG
            is_free[best] = False
        if result == WRONG and (crowd & (row >= RIGHT)).any():
            result = UNCOUNTED
        matched.append(result)
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

    def ranked(self, label: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Returns which detections of a class are right, the best first, and their scores."""
        of_class = np.flatnonzero(self.labels == label)
        order = of_class[np.argsort(-self.score[of_class], kind="stable")]
        return self.is_right[order], self.score[order]


def outcomes(record: DetectionRecord, rule: Rule = "coco") -> Outcomes:
    """Returns the detections of a whole set with what each is worth."""
    images = record.ordered()
    matched = [match(image, rule) for image in images]
    kept = [one != UNCOUNTED for one in matched]
    things = np.zeros(len(record.classes), np.int64)
    for image in images:
        things += np.bincount(image.truth.labels[~image.truth.ignored], minlength=len(things))
    return Outcomes(
        labels=_joined([image.labels[keep] for image, keep in zip(images, kept, strict=True)], np.int64),
        score=_joined([image.score[keep] for image, keep in zip(images, kept, strict=True)], np.float64),
        is_right=_joined([one[keep] >= 0 for one, keep in zip(matched, kept, strict=True)], np.bool_),
        things=things,
    )


def _joined(parts: list[NDArray], dtype: type) -> NDArray:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)


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
    """Returns the curve of a class of which there is a thing."""
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
    """Returns recall and precision (n,) after each detection, the best first."""
    hits = right.cumsum()
    return hits / things, hits / np.arange(1, len(right) + 1)
