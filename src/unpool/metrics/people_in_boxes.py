"""Scores of people who are detected in boxes, each with joints: OKS-AP, and what is counted of boxes."""

from typing import Any

from unpool.metrics.detection_figures import DetectionFigures
from unpool.metrics.oks import AveragePrecision, deviations
from unpool.metrics.people import annotated, counted_joints
from unpool.ops.people import as_things
from unpool.types import Batch, DataInfo, Prediction


class PeopleInBoxesFigures:
    """OKS-AP (`metrics.oks`) over all people, and `DetectionFigures` of their boxes.

    Args:
        info: of one class, people, and with names of joints.
    """

    def __init__(self, info: DataInfo) -> None:
        self.boxes = DetectionFigures(info)
        self.counts = counted_joints(info.keypoints)
        self.precision = AveragePrecision(deviations(info.keypoints)[self.counts])

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `boxes`, `people` (N, K, 2) and `score`, lists of B; see `PeopleScores` for the batch."""
        self.boxes.update(prediction, as_things(batch))
        for i, (people, score) in enumerate(zip(prediction["people"], prediction["score"], strict=True)):
            if (truth := annotated(batch, i, self.counts)) is not None:
                index = int(batch["index"][i])
                self.precision.add(people.cpu().double()[:, self.counts], score.cpu().double(), truth, index=index)

    def merge(self, other: "PeopleInBoxesFigures") -> None:
        self.boxes.merge(other.boxes)
        self.precision.merge(other.precision)

    def compute(self) -> dict[str, Any]:
        """Computes oks_ap, oks_ap50 and oks_ap75, None where nobody has labelled joints, and the figures of boxes."""
        nobody = dict.fromkeys(("oks_ap", "oks_ap50", "oks_ap75"))
        return {**nobody, **self.precision.compute(), **self.boxes.compute()}
