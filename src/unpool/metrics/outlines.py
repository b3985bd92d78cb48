"""How well the outlines of predicted masks lie on the true ones.

Source: Cheng et al. 2021, "Boundary IoU", arXiv:2103.16562, section 4: the intersection over union of the pixels of a
class that are no further than d from its outline, d being 2 % of the image's diagonal. Here counted over a whole set,
as the mean IoU is, and a pixel without a label takes the predicted class, so that no outline runs along it.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.types import IGNORE, Batch, Prediction

DISTANCE = 0.02  # of the diagonal


class BoundaryScores:
    """Counts of boundary pixels by class over a whole set.

    Args:
        num_classes: N.

    Attributes:
        intersection: (N,) int64.
        union: (N,) int64.
        seen: (N,) int64 boundary pixels in the reference.
    """

    def __init__(self, num_classes: int) -> None:
        self.intersection, self.union, self.seen = (torch.zeros(num_classes, dtype=torch.int64) for _ in range(3))

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: masks (B, H, W), or lists of B masks (H, W)."""
        for predicted, reference in zip(prediction["mask"], batch["mask"], strict=True):
            self._add(predicted.to(reference.device).long(), reference.long())

    def _add(self, predicted: Tensor, reference: Tensor) -> None:
        labelled, classes = reference != IGNORE, len(self.union)
        reference = torch.where(labelled, reference, predicted)
        width = max(1, round(DISTANCE * math.hypot(*reference.shape)))
        first, second = (boundary(mask, width) & labelled for mask in (predicted, reference))
        seen = torch.bincount(reference[second], minlength=classes)
        both = torch.bincount(reference[first & second & (predicted == reference)], minlength=classes)
        self.intersection += both.cpu()
        self.union += (torch.bincount(predicted[first], minlength=classes) + seen - both).cpu()
        self.seen += seen.cpu()

    def merge(self, other: "BoundaryScores") -> None:
        """Adds the counts of another part of the set."""
        self.intersection += other.intersection
        self.union += other.union
        self.seen += other.seen

    def iou(self) -> list[float | None]:
        """Returns the boundary IoU of each class; None for one that is not in the reference."""
        counts = zip(self.intersection.tolist(), self.union.tolist(), self.seen.tolist(), strict=True)
        return [both / whole if seen else None for both, whole, seen in counts]


def boundary(mask: Tensor, width: int) -> Tensor:
    """Marks the pixels of a mask that are no further than `width` from another class or from the image's edge.

    Distances are along rows and columns, whichever is longer, as repeated erosion by a 3x3 square has it.

    Args:
        mask: (H, W) classes.
        width: in pixels.

    Returns:
        (H, W) bool.

    Example:
        >>> boundary(torch.tensor([[0, 0, 0, 1, 1, 1]]).expand(6, 6), 1)[3].int().tolist()
        [1, 0, 1, 1, 0, 1]
    """
    values = nn.functional.pad(mask[None, None].float(), (width,) * 4, value=-1.0)
    sides: Sequence[tuple[int, int]] = ((2 * width + 1, 1), (1, 2 * width + 1))
    highest, lowest = values, -values
    for side in sides:
        highest, lowest = (nn.functional.max_pool2d(one, side, stride=1) for one in (highest, lowest))
    return ((highest != mask) | (-lowest != mask))[0, 0]
