"""Scores of detected boxes and masks."""

from typing import Any, Literal

from unpool.metrics.coco import coco_scores
from unpool.metrics.detection_record import DetectionRecord
from unpool.metrics.matching import curves
from unpool.metrics.mistakes import count_mistakes
from unpool.metrics.voc import voc_scores
from unpool.types import Batch, DataInfo, Prediction

Protocol = Literal["coco", "voc"]


class DetectionScores:
    """Average precision over a whole set, as COCO or as VOC counts it.

    Args:
        info: whose classes are detected.
        protocol: "coco" (`metrics.coco`) or "voc" (`metrics.voc`).
        masks: whether masks are scored too, which COCO's protocol does.

    Attributes:
        record: the detections, from which mistakes and curves are counted too.
    """

    def __init__(self, info: DataInfo, *, protocol: Protocol = "coco", masks: bool = False) -> None:
        if protocol == "voc" and masks:
            raise ValueError('VOC\'s protocol scores no masks of things; use protocol "coco" for masks')
        self.protocol: Protocol = protocol
        self.record = DetectionRecord(info.classes, masks=masks)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch, as `DetectionRecord.update` does."""
        self.record.update(prediction, batch)

    def merge(self, other: "DetectionScores") -> None:
        self.record.merge(other.record)

    def compute(self) -> dict[str, Any]:
        """Computes the scores of `coco_scores`, of boxes and where they are recorded of masks, or of `voc_scores`.

        Beside them `precision`, a row for each class with its precisions at recalls 0, 0.01, ... 1 and IoU 0.5, empty
        where the set has no such thing; and by kind of mistake (`metrics.mistakes`) `mistakes`, how many there are, and
        `mistake_costs`, the AP50 that is lost to them.
        """
        by_class, costs = curves(self.record, rule=self.protocol), count_mistakes(self.record)
        more = {
            "precision": [by_class[name].precision if name in by_class else [] for name in self.record.classes],
            "mistakes": {kind: cost.number for kind, cost in costs.items()},
            "mistake_costs": {kind: cost.gain for kind, cost in costs.items()},
        }
        if self.protocol == "voc":
            return {**voc_scores(self.record), **more}
        masks = coco_scores(self.record, "masks") if self.record.has_masks else {}
        return {**coco_scores(self.record), **masks, **more}
