"""Counts that accuracies, precision and intersection over union are read from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.types import Batch, Prediction


class Confusion:
    """Confusion counts of a whole set; row = truth, column = prediction.

    Every ratio whose denominator is 0 is None, and no mean counts it: recall of a class that is not in the truth,
    precision of one that was never predicted, intersection over union of one that is in neither.

    Attributes:
        counts: (N, N) int64.
    """

    def __init__(self, num_classes: int, *, key: str, ignore: int | None = None) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.key = key
        self.ignore = ignore

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch; both sides hold the same key, a tensor (B, ...) or a list of B tensors.

        Raises:
            ValueError: shapes differ, or a value is no class.
        """
        truth, predicted = batch[self.key], prediction[self.key]
        if isinstance(truth, Tensor) and isinstance(predicted, Tensor):
            self._add(truth, predicted)
            return
        for one_truth, one_predicted in zip(truth, predicted, strict=True):
            self._add(one_truth, one_predicted)

    def _add(self, truth: Tensor, predicted: Tensor) -> None:
        if truth.shape != predicted.shape:
            raise ValueError(
                f"{self.key} is {tuple(truth.shape)} in the batch and {tuple(predicted.shape)} in the prediction; "
                "a task must predict at the size of the truth"
            )
        size = len(self.counts)
        truth, predicted = truth.flatten().long(), predicted.flatten().long().to(truth.device)
        if self.ignore is not None:
            keep = truth != self.ignore
            truth, predicted = truth[keep], predicted[keep]
        for side, values in (("truth", truth), ("prediction", predicted)):
            if values.numel() and (int(values.min()) < 0 or int(values.max()) >= size):
                raise ValueError(
                    f"{side} of {self.key} holds {values.unique().tolist()[:20]}, not all in 0..{size - 1}"
                )
        self.counts += torch.bincount(truth * size + predicted, minlength=size * size).view(size, size).cpu()

    def merge(self, other: "Confusion") -> None:
        """Adds the counts of another part of the set."""
        if other.counts.shape != self.counts.shape:
            raise ValueError(f"cannot merge counts of {len(other.counts)} classes into {len(self.counts)}")
        self.counts += other.counts

    def accuracy(self) -> float | None:
        """Share of the labelled items that were predicted right."""
        return _ratio(self.counts.diag().sum(), self.counts.sum())

    def recall(self) -> list[float | None]:
        """Of each class in the truth, the share that was found."""
        return [_ratio(hit, all_) for hit, all_ in zip(self.counts.diag(), self.counts.sum(1), strict=True)]

    def precision(self) -> list[float | None]:
        """Of each class as predicted, the share that was right."""
        return [_ratio(hit, all_) for hit, all_ in zip(self.counts.diag(), self.counts.sum(0), strict=True)]

    def iou(self) -> list[float | None]:
        """Intersection over union of each class."""
        hits = self.counts.diag()
        unions = self.counts.sum(0) + self.counts.sum(1) - hits
        return [_ratio(hit, union) for hit, union in zip(hits, unions, strict=True)]


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are defined; None where none is.

    Example:
        >>> mean([0.5, None, 1.0])
        0.75
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _ratio(part: Tensor, whole: Tensor) -> float | None:
    return int(part) / int(whole) if int(whole) else None
