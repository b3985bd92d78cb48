"""Scores of detected boxes and masks."""

from typing import Any, Literal

from unpool.metrics.coco import coco_scores
from unpool.metrics.detection_record import DetectionRecord
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
        """Computes the scores of `coco_scores`, of boxes and where they are recorded of masks, or of `voc_scores`."""
        if self.protocol == "voc":
            return voc_scores(self.record)
        masks = coco_scores(self.record, "masks") if self.record.has_masks else {}
        return {**coco_scores(self.record), **masks}
