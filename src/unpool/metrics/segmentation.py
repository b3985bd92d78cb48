"""Scores of predicted masks."""

from collections.abc import Sequence
from typing import Any

from unpool.metrics.confusion import Confusion, mean
from unpool.types import IGNORE, Batch, Prediction


class MaskScores:
    """Accuracy, recall, precision and intersection over union from the pixel counts of a whole set."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = Confusion(len(self.classes), key="mask", ignore=IGNORE)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: masks (B, H, W), or lists of B masks (H, W)."""
        self.confusion.update(prediction, batch)

    def merge(self, other: "MaskScores") -> None:
        self.confusion.merge(other.confusion)

    def compute(self) -> dict[str, Any]:
        """Computes the scores: shares in 0..1, None where the set has nothing to count.

        Returns:
            mean_iou over the classes_measured, those in the reference; pixel_accuracy, class_accuracy (mean recall),
            and by class name: iou, recall, precision, None for a class that is not in the reference; confusion, rows of
            pixel counts by reference class (None beyond 100 classes).
        """
        iou, recall = self.confusion.iou(), self.confusion.recall()
        return {
            "mean_iou": mean(iou),
            "pixel_accuracy": self.confusion.accuracy(),
            "class_accuracy": mean(recall),
            "classes_measured": self.confusion.measured(),
            "iou": dict(zip(self.classes, iou, strict=True)),
            "recall": dict(zip(self.classes, recall, strict=True)),
            "precision": dict(zip(self.classes, self.confusion.precision(), strict=True)),
            "confusion": self.confusion.table(),
        }
