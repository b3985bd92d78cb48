"""Which mistakes a detector makes, and the average precision that it would gain without each kind of them.

A detection that is wrong at IoU 0.5 has one of five kinds, the first that holds:

- place: it overlaps a thing of its class by an IoU from 0.1 to 0.5;
- class: it overlaps a thing of another class by 0.5 or more;
- twice: it overlaps a thing of its class by 0.5 or more, which a better detection has;
- background: it overlaps no thing by 0.1 or more;
- both: what is left: it overlaps a thing of another class by 0.1 to 0.5.

A thing is missed if no detection is right about it, nor would be were its class or place mended. Mended detections of
class or place are right where they are the best of their kind for a thing that none has, else they are taken out, as
are those of the other kinds; things missed are taken out of the truth, and with the last one their class.

Source: Bolya et al. 2020, arXiv:2008.08115, sections 2.2 and 2.3. The base is AP50 by COCO's rule, over boxes.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from unpool.metrics.confusion import mean
from unpool.metrics.detection_record import DetectionRecord, Detections
from unpool.metrics.matching import RIGHT, UNCOUNTED, WRONG, Outcomes, curve_of, match
from unpool.ops.boxes import iou

KINDS = ("class", "place", "both", "twice", "background", "missed")
_NEAR = 0.1  # the least IoU with a thing that a detection may be meant for


class Mistakes(NamedTuple):
    """The mistakes in one image.

    Attributes:
        matched: (M,) index of the thing that each detection is right about, or as in `metrics.matching`.
        kinds: M kinds; None for a detection that is right or not counted.
        meant: (M,) index of the thing that a mended class or place would hit; -1 for others.
        missed: (N,) bool.
    """

    matched: NDArray[np.int64]
    kinds: list[str | None]
    meant: NDArray[np.int64]
    missed: NDArray[np.bool_]


class Cost(NamedTuple):
    """How many mistakes of a kind there are, and the AP50 gained without them; None if no thing is to be detected."""

    number: int
    gain: float | None


def mistakes_of(image: Detections) -> Mistakes:
    """Returns the kind of each mistake in an image.

    Example:
        >>> record, box = DetectionRecord(["cat"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [box], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[20, 20]])}
        >>> beside = {"boxes": [box + 4.0], "labels": truth["labels"], "score": [torch.tensor([0.9])]}
        >>> record.update(beside, truth | {"index": torch.tensor([0])})
        >>> mistakes_of(record.images[0]).kinds
        ['place']
    """
    truth, matched = image.truth, match(image)
    overlap = iou(torch.from_numpy(image.boxes), torch.from_numpy(truth.boxes)).numpy()
    overlap = np.where(truth.ignored, 0.0, overlap)
    is_same = image.labels[:, None] == truth.labels
    kinds: list[str | None] = [None] * len(matched)
    meant = np.full(len(matched), -1, np.int64)
    for d in np.flatnonzero(matched == WRONG).tolist():
        same, other = np.where(is_same[d], overlap[d], 0.0), np.where(is_same[d], 0.0, overlap[d])
        kinds[d] = _kind(same.max(initial=0.0), other.max(initial=0.0))
        if kinds[d] in ("class", "place"):
            meant[d] = (same if kinds[d] == "place" else other).argmax()
    missed = ~truth.ignored
    missed[matched[matched >= 0]] = False
    missed[meant[meant >= 0]] = False
    return Mistakes(matched, kinds, meant, missed)


def _kind(same: float, other: float) -> str:
    """The kind of a wrong detection, by its highest IoU with things of its class and of others."""
    if _NEAR <= same < RIGHT:
        return "place"
    if other >= RIGHT:
        return "class"
    if same >= RIGHT:
        return "twice"
    return "both" if other >= _NEAR else "background"


def count_mistakes(record: DetectionRecord) -> dict[str, Cost]:
    """Counts the mistakes of each kind in a whole set, and what they cost; kinds in the order of `KINDS`.

    Example:
        >>> record, box = DetectionRecord(["cat", "dog"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [box], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[20, 20]])}
        >>> dog = {"boxes": [box], "labels": [torch.tensor([1])], "score": [torch.tensor([0.9])]}
        >>> record.update(dog, truth | {"index": torch.tensor([0])})
        >>> count_mistakes(record)["class"]
        Cost(number=1, gain=1.0)
    """
    examined = [(image, mistakes_of(image)) for image in record.ordered()]
    base = _average(_mended(record, examined, ""))
    costs = {}
    for kind in KINDS:
        number = sum(int(one.missed.sum()) if kind == "missed" else one.kinds.count(kind) for _, one in examined)
        mended = _average(_mended(record, examined, kind))
        costs[kind] = Cost(number, None if base is None else (1.0 if mended is None else mended) - base)
    return costs


def _average(results: Outcomes) -> float | None:
    """The mean over the classes of which there is a thing."""
    return mean([curve_of(results, label).average for label in np.flatnonzero(results.things).tolist()])


def _mended(record: DetectionRecord, examined: list[tuple[Detections, Mistakes]], kind: str) -> Outcomes:
    """The detections of a set after the mistakes of one kind are mended."""
    parts, things = [], np.zeros(len(record.classes), np.int64)
    for image, one in examined:
        is_missed = one.missed & (kind == "missed")
        things += np.bincount(image.truth.labels[~image.truth.ignored & ~is_missed], minlength=len(things))
        labels, is_right, keep = image.labels.copy(), one.matched >= 0, one.matched != UNCOUNTED
        free = set(range(len(image.truth.labels))) - set(one.matched.tolist())
        for d in [d for d, name in enumerate(one.kinds) if name == kind]:
            thing = int(one.meant[d])
            keep[d] = is_right[d] = thing in free
            if thing in free:
                free.remove(thing)
                labels[d] = image.truth.labels[thing]
        parts.append((labels[keep], image.score[keep], is_right[keep]))
    return Outcomes.joined(parts, things)
