"""VOC's average precision at IoU 0.5: at 11 recalls, as until 2009, and the area under the curve, as since 2010.

Detections are matched as in `metrics.matching`; difficult things are ignored. Differs in that a recall of exactly 0.3
or the like reaches the recall of that name, which rounding in the development kit may prevent.

Source: Everingham et al. 2010, "The PASCAL visual object classes challenge", section 4.2; VOCevaldet.m and VOCap.m of
the development kits of 2007 and 2012.
"""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unpool.metrics.confusion import mean
from unpool.metrics.detection_record import DetectionRecord
from unpool.metrics.matching import outcomes, reached

_RECALLS = tuple(Fraction(n, 10) for n in range(11))


def voc_scores(record: DetectionRecord) -> dict[str, Any]:
    """Computes the scores of a set: shares in 0..1, None where there is nothing to count.

    Returns:
        voc_ap, the mean area over classes, and voc_ap_11, the mean at 11 recalls; voc_ap_by_class and
        voc_ap_11_by_class by class name; classes_measured, the number of classes of which there is a thing.

    Example:
        >>> import torch
        >>> record, box = DetectionRecord(["cat"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [torch.cat([box, box + 50])], "labels": [torch.tensor([0, 0])]}
        >>> first = {"boxes": [box], "labels": [torch.tensor([0])], "score": [torch.tensor([0.9])]}  # one of two
        >>> record.update(first, truth | {"size_hw": torch.tensor([[99, 99]]), "index": torch.tensor([0])})
        >>> scores = voc_scores(record)
        >>> scores["voc_ap"], round(scores["voc_ap_11"], 4)
        (0.5, 0.5455)
    """
    results = outcomes(record, "voc")
    area: dict[str, float | None] = {}
    at_11: dict[str, float | None] = {}
    for label, name in enumerate(record.classes):
        things, (right, _) = int(results.things[label]), results.ranked(label)
        area[name] = _area(right, things) if things else None
        at_11[name] = _at_11(right, things) if things else None
    return {
        "voc_ap": mean(list(area.values())),
        "voc_ap_11": mean(list(at_11.values())),
        "voc_ap_by_class": area,
        "voc_ap_11_by_class": at_11,
        "classes_measured": int((results.things > 0).sum()),
    }


def _area(right: NDArray[np.bool_], things: int) -> float:
    """The area under precision by recall, where each precision is the highest at its recall or a higher one."""
    recall, precision = reached(right, things)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * highest).sum())


def _at_11(right: NDArray[np.bool_], things: int) -> float:
    """The mean of the highest precisions at recalls of 0, 0.1, ... 1 or more; 0 where one is not reached."""
    _, precision = reached(right, things)
    hits = right.cumsum()
    highest = [precision[hits * least.denominator >= least.numerator * things].max(initial=0.0) for least in _RECALLS]
    return float(np.mean(highest))
