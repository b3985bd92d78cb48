"""Confusion counts, and accuracy, recall, precision and intersection over union computed from them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.types import Batch, Prediction

LARGEST = 100  # classes of a written table: it grows with the square


class Confusion:
    """Confusion counts of a whole set; row = reference, column = prediction.

    A ratio that cannot be known is None and is left out of means: all ratios of a class that is not in the reference,
    precision of one that was never predicted.

    Args:
        num_classes: N.
        key: of the values in batch and prediction.
        ignore: value in the reference that is not counted.

    Attributes:
        counts: (N, N) int64.
    """

    def __init__(self, num_classes: int, *, key: str, ignore: int | None = None) -> None:
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        self.key = key
        self.ignore = ignore

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch; `key` is in both, a tensor (B, ...) or a list of B tensors.

        Raises:
            ValueError: shapes differ, or a value is no class.
        """
        reference, predicted = batch[self.key], prediction[self.key]
        if isinstance(reference, Tensor) and isinstance(predicted, Tensor):
            self._add(reference, predicted)
            return
        for one_reference, one_predicted in zip(reference, predicted, strict=True):
            self._add(one_reference, one_predicted)

    def _add(self, reference: Tensor, predicted: Tensor) -> None:
        if reference.shape != predicted.shape:
            raise ValueError(
                f"{self.key} is {tuple(reference.shape)} in the batch and {tuple(predicted.shape)} in the prediction; "
                "a task must predict at the size of the reference"
            )
        size = len(self.counts)
        reference, predicted = reference.flatten().long(), predicted.flatten().long().to(reference.device)
        if self.ignore is not None:
            keep = reference != self.ignore
            reference, predicted = reference[keep], predicted[keep]
        for side, values in (("reference", reference), ("prediction", predicted)):
            if values.numel() and (int(values.min()) < 0 or int(values.max()) >= size):
                raise ValueError(
                    f"{side} of {self.key} holds {values.unique().tolist()[:20]}, not all in 0..{size - 1}"
                )
        self.counts += torch.bincount(reference * size + predicted, minlength=size * size).view(size, size).cpu()

    def merge(self, other: "Confusion") -> None:
        """Adds the counts of another part of the set.

        Raises:
            ValueError: the numbers of classes differ.
        """
        if other.counts.shape != self.counts.shape:
            raise ValueError(f"cannot merge counts of {len(other.counts)} classes into {len(self.counts)}")
        self.counts += other.counts

    def accuracy(self) -> float | None:
        """Returns the share of the counted items that were predicted correctly."""
        return _ratio(self.counts.diag().sum(), self.counts.sum())

    def recall(self) -> list[float | None]:
        """Returns for each class the share of its reference items that were predicted as such."""
        return self._of_measured(self.counts.sum(1))

    def precision(self) -> list[float | None]:
        """Returns for each class the share of its predictions that are correct."""
        return self._of_measured(self.counts.sum(0))

    def iou(self) -> list[float | None]:
        """Returns the intersection over union of each class."""
        return self._of_measured(self.counts.sum(0) + self.counts.sum(1) - self.counts.diag())

    def measured(self) -> int:
        """Returns the number of classes that are in the reference."""
        return int((self.counts.sum(1) > 0).sum())

    def table(self) -> list[list[int]] | None:
        """Returns the counts as rows by reference; None of more than `LARGEST` classes."""
        return self.counts.tolist() if len(self.counts) <= LARGEST else None

    def _of_measured(self, wholes: Tensor) -> list[float | None]:
        """Returns the share of each whole that was predicted correctly; None for a class not in the reference."""
        parts = zip(self.counts.diag(), wholes, self.counts.sum(1), strict=True)
        return [_ratio(hit, whole) if int(seen) else None for hit, whole, seen in parts]


def mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean of the values that are not None; None if all are.

    Example:
        >>> mean([0.5, None, 1.0])
        0.75
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _ratio(part: Tensor, whole: Tensor) -> float | None:
    return int(part) / int(whole) if int(whole) else None
