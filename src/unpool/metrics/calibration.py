"""Whether answers are right as often as their probabilities say.

Source: Guo et al. 2017, arXiv:1706.04599, section 2: bins of equal width, the expected calibration error (equation 3).
"""

import torch
from torch import Tensor

BINS = 15  # as in the source's tables
_UNIT = 2**24  # probabilities are summed as whole numbers, so that the order of the samples changes no bit


class Calibration:
    """Counts answers, their probabilities and how many are right, in bins of equal width; (0, 1/15] is the first."""

    def __init__(self) -> None:
        self.counts = torch.zeros(BINS, dtype=torch.int64)
        self.right = torch.zeros(BINS, dtype=torch.int64)
        self.confidence = torch.zeros(BINS, dtype=torch.int64)

    def update(self, confidence: Tensor, is_right: Tensor) -> None:
        """Adds answers: their probabilities (N,), those that are no number left out, and (N,) bool.

        Example:
            >>> made = Calibration()
            >>> made.update(torch.tensor([0.9, 0.9, 0.9, 0.9]), torch.tensor([True, True, True, False]))
            >>> round(made.error(), 4)  # right in 75 %, sure by 90 %
            0.15
        """
        known = confidence.isfinite()
        confidence, is_right = confidence[known].double().clamp(0, 1), is_right[known]
        bins = ((confidence * BINS).ceil().long() - 1).clamp(min=0)
        values = (confidence * _UNIT).round().long()
        self.counts += torch.bincount(bins, minlength=BINS).cpu()
        self.right += torch.bincount(bins[is_right], minlength=BINS).cpu()
        self.confidence += torch.zeros(BINS, dtype=torch.int64).scatter_add_(0, bins.cpu(), values.cpu())

    def merge(self, other: "Calibration") -> None:
        """Adds the counts of another part of the set."""
        self.counts += other.counts
        self.right += other.right
        self.confidence += other.confidence

    def error(self) -> float | None:
        """Returns the mean distance of probability and share right, over answers by bin; None without an answer."""
        total = int(self.counts.sum())
        apart = (self.right.double() - self.confidence.double() / _UNIT).abs()  # count times the distance of a bin
        return float(apart.sum()) / total if total else None

    def table(self) -> list[list[float]]:
        """Returns a row for each bin with answers: mean probability, share right, number of answers."""
        return [
            [confidence / _UNIT / count, right / count, count]
            for confidence, right, count in zip(
                self.confidence.tolist(), self.right.tolist(), self.counts.tolist(), strict=True
            )
            if count
        ]
