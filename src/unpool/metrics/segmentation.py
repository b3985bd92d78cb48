"""Scores of predicted masks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.metrics.calibration import Calibration
from unpool.metrics.confusion import Confusion, mean
from unpool.metrics.outlines import BoundaryScores
from unpool.types import IGNORE, Batch, Prediction

SIZES = {"below 1 %": 0.01, "1 to 10 %": 0.1, "above 10 %": 1.0}  # of the image that a class covers, at most


class MaskScores:
    """Accuracy, recall, precision and intersection over union from the pixel counts of a whole set."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.confusion = Confusion(len(self.classes), key="mask", ignore=IGNORE)
        self.boundary = BoundaryScores(len(self.classes))
        self.calibration = Calibration()
        self.right, self.seen = (torch.zeros(len(SIZES), dtype=torch.int64) for _ in range(2))

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: masks (B, H, W), or lists of B masks (H, W), and where known the prediction's score alike."""
        self.confusion.update(prediction, batch)
        self.boundary.update(prediction, batch)
        for i, reference in enumerate(batch["mask"]):
            is_right = prediction["mask"][i].to(reference.device) == reference
            self._add_sizes(reference, is_right)
            if "score" in prediction:
                labelled = reference != IGNORE
                self.calibration.update(prediction["score"][i].to(reference.device)[labelled], is_right[labelled])

    def _add_sizes(self, reference: Tensor, is_right: Tensor) -> None:
        """Adds an image's pixels by the share of the image that their class covers."""
        labels = reference.flatten().long()
        parts = (labels, labels[is_right.flatten()])
        seen, right = (torch.bincount(part, minlength=IGNORE + 1)[:IGNORE] for part in parts)
        bounds = torch.tensor(list(SIZES.values()), dtype=torch.float64, device=labels.device)
        size = torch.bucketize(seen.double() / labels.numel(), bounds)
        self.seen += torch.zeros_like(self.seen).scatter_add_(0, size.cpu(), seen.cpu())
        self.right += torch.zeros_like(self.right).scatter_add_(0, size.cpu(), right.cpu())

    def merge(self, other: "MaskScores") -> None:
        self.confusion.merge(other.confusion)
        self.boundary.merge(other.boundary)
        self.calibration.merge(other.calibration)
        self.seen += other.seen
        self.right += other.right

    def compute(self) -> dict[str, Any]:
        """Computes the scores: shares in 0..1, None where the set has nothing to count.

        Returns:
            mean_iou over the classes_measured, those in the reference; pixel_accuracy, class_accuracy (mean recall),
            and by class name: iou, recall, precision, None for a class that is not in the reference; confusion, rows of
            pixel counts by reference class (None beyond 100 classes). boundary_iou and boundary_iou_by_class; where
            answers have a score, ece and calibration, its bins; recall_by_size, of pixels by the share of the image
            that their class covers.
        """
        iou, recall, outline = self.confusion.iou(), self.confusion.recall(), self.boundary.iou()
        sizes = zip(SIZES, self.right.tolist(), self.seen.tolist(), strict=True)
        return {
            "mean_iou": mean(iou),
            "pixel_accuracy": self.confusion.accuracy(),
            "class_accuracy": mean(recall),
            "boundary_iou": mean(outline),
            "ece": self.calibration.error(),
            "classes_measured": self.confusion.measured(),
            "iou": dict(zip(self.classes, iou, strict=True)),
            "recall": dict(zip(self.classes, recall, strict=True)),
            "precision": dict(zip(self.classes, self.confusion.precision(), strict=True)),
            "boundary_iou_by_class": dict(zip(self.classes, outline, strict=True)),
            "recall_by_size": {name: right / seen if seen else None for name, right, seen in sizes},
            "confusion": self.confusion.table(),
            "calibration": self.calibration.table(),
        }
