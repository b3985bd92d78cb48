"""Scores of predicted labels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unpool.metrics.calibration import Calibration
from unpool.metrics.confusion import Confusion, mean
from unpool.types import Batch, Prediction


class LabelScores:
    """Top-1 and top-5 accuracy, recall and precision by class, and confusion counts, over a whole set.

    Args:
        classes: names by index.
        heights: (N, N) of the lowest common ancestor of every two classes, see `ancestor_heights`; None where no tree
            is known.
    """

    def __init__(self, classes: Sequence[str], heights: Tensor | None = None) -> None:
        self.classes = tuple(classes)
        self.heights = heights
        self.confusion = Confusion(len(self.classes), key="label")
        self.calibration = Calibration()
        self.top5_hits = 0

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: label (B,); in the prediction also top_labels (B, k), best first, and, if known, score."""
        self.confusion.update(prediction, batch)
        top5 = prediction["top_labels"][:, :5]
        self.top5_hits += int((top5 == batch["label"].to(top5.device)[:, None]).sum())
        if "score" in prediction:
            label = prediction["label"]
            self.calibration.update(prediction["score"], label == batch["label"].to(label.device))

    def merge(self, other: "LabelScores") -> None:
        self.confusion.merge(other.confusion)
        self.calibration.merge(other.calibration)
        self.top5_hits += other.top5_hits

    def compute(self) -> dict[str, Any]:
        """Computes the scores: shares in 0..1, None where the set has nothing to count.

        Returns:
            top1, top5 (of all classes if there are fewer than 5), class_accuracy (mean recall of the classes_measured,
            those of which there is an image), recall and precision by class name, and confusion, rows of counts by
            reference class (None beyond 100 classes). Where a tree is known, hierarchical_error: the height of the
            lowest common ancestor of prediction and reference, 0 where they are equal, averaged over all images.
            Where answers have a score, ece, the expected calibration error, and calibration, its bins.
        """
        counts, recall = self.confusion.counts, self.confusion.recall()
        images = int(counts.sum())
        steps = None if self.heights is None else int((counts * self.heights).sum())
        hierarchical = {} if steps is None else {"hierarchical_error": steps / images if images else None}
        return {
            "top1": self.confusion.accuracy(),
            "top5": self.top5_hits / images if images else None,
            **hierarchical,
            "ece": self.calibration.error(),
            "class_accuracy": mean(recall),
            "classes_measured": self.confusion.measured(),
            "recall": dict(zip(self.classes, recall, strict=True)),
            "precision": dict(zip(self.classes, self.confusion.precision(), strict=True)),
            "confusion": self.confusion.table(),
            "calibration": self.calibration.table(),
        }
