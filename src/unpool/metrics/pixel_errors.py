"""How far answers at pixels are off: the share of bad ones, and the mean length of the error, seen by both or not.

A pixel whose truth is not known counts nowhere. Of the others, those that the second image does not show are `hidden`;
figures are of all pixels and, where what is hidden is known, of visible ones alone. An error is bad where it is longer
than 1 or 3 pixels, as Middlebury's bad 1.0 and KITTI's 3 pixels; KITTI's newer rule that it must also be longer than a
twentieth of the truth is left out.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from unpool.types import Batch, Prediction

THRESHOLDS = (1, 3)  # pixels


def error_lengths(answer: Tensor, truth: Tensor) -> Tensor:
    """(H, W) pixels by which disparities (H, W), or flows (2, H, W), are off; NaN where the truth is.

    Example:
        >>> error_lengths(torch.tensor([[[3.0]], [[4.0]]]), torch.zeros(2, 1, 1))
        tensor([[5.]])
    """
    off = (answer - truth).float()
    return off.abs() if off.dim() == 2 else off.square().sum(0).sqrt()


class PixelErrors:
    """Bad pixels and mean errors of a whole set.

    Args:
        key: of the prediction and of the batch.
    """

    def __init__(self, key: Literal["disparity", "flow"]) -> None:
        self.key = key
        self.counts = {kind: torch.zeros(2 + len(THRESHOLDS), dtype=torch.float64) for kind in ("all", "visible")}

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch; answers of padded images may be larger than their truth.

        Args:
            prediction: `key` of each image.
            batch: `key` and, where it is known, `hidden` of each image.
        """
        for index, truth in enumerate(batch[self.key]):
            height, width = truth.shape[-2:]
            errors = error_lengths(prediction[self.key][index][..., :height, :width], truth)
            is_known = truth.isfinite().reshape(-1, height, width).all(0)
            self._add("all", errors[is_known])
            if "hidden" in batch:
                self._add("visible", errors[is_known & ~batch["hidden"][index]])

    def _add(self, kind: str, errors: Tensor) -> None:
        bad = [(~(errors <= threshold)).sum() for threshold in THRESHOLDS]
        values = [errors.new_tensor(len(errors)), errors.double().sum(), *bad]
        self.counts[kind] += torch.tensor([float(value) for value in values], dtype=torch.float64)

    def merge(self, other: "PixelErrors") -> None:
        for kind, counts in other.counts.items():
            self.counts[kind] = self.counts[kind] + counts

    def compute(self) -> dict[str, Any]:
        """Computes the figures.

        Returns:
            bad1, bad3: shares of pixels; epe: mean error in pixels; the same with `_visible`, None where nothing was
            counted; known_pixels and known_pixels_visible.
        """
        figures: dict[str, Any] = {}
        for kind, counts in self.counts.items():
            end = "" if kind == "all" else "_visible"
            number, total, *bad = counts.tolist()
            named = zip(THRESHOLDS, bad, strict=True)
            figures |= {f"bad{threshold}{end}": value / number if number else None for threshold, value in named}
            figures |= {f"epe{end}": total / number if number else None, f"known_pixels{end}": int(number)}
        return figures
