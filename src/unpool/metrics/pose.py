"""Scores of predicted joints, one person an image; only visible joints count.

A joint is right where it is nearer than a share of a length of the same person: the torso (left shoulder to right hip;
LSP and FLIC), the head (neck to its top) or the person (the longer side of the box around the joints; Yang and Ramanan
2013). People whose length is not known, since one end of it is hidden, are left out of that figure.

Beside published figures: MPII's PCKh takes 0.6 of the diagonal of the head's box for the head's length. PCP runs over
the limbs of the data set; the ten sticks of the literature leave out the lines of neck and hips. OKS-AP takes each
person for an image of its own; COCO finds matches among all people of an image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.metrics.oks import AveragePrecision, deviations
from unpool.ops.skeleton import HEAD, TORSO, joints_named
from unpool.types import Batch, DataInfo, Prediction

THRESHOLDS = {"pck": (0.05, 0.1, 0.2, 0.5), "pckh": (0.5,), "pck_person": (0.1, 0.2)}


class PoseScores:
    """Shares of right joints by several lengths, right limbs, mean error in pixels; OKS-AP where areas are known."""

    def __init__(self, info: DataInfo) -> None:
        self.joints, self.limbs = info.keypoints, info.limbs
        self.ends = {"pck": joints_named(self.joints, TORSO), "pckh": joints_named(self.joints, HEAD)}
        count = len(self.joints)
        self.right = {(name, t): torch.zeros(count, dtype=torch.int64) for name in THRESHOLDS for t in THRESHOLDS[name]}
        self.seen = {name: torch.zeros(count, dtype=torch.int64) for name in THRESHOLDS}
        self.limbs_right, self.limbs_seen = 0, 0
        self.error, self.error_seen = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
        self.precision = AveragePrecision(deviations(self.joints))

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `keypoints` (B, K, 2) and `score` (B, K); `visible` (B, K), and `area` (B,) where known."""
        found, truth = prediction["keypoints"].cpu().double(), batch["keypoints"].cpu().double()
        visible = batch["visible"].cpu().bool()
        error = (found - truth).norm(dim=2)  # (B, K)
        for name in THRESHOLDS:
            length = self._length(name, truth, visible)[:, None]
            counted = visible & (length > 0)
            self.seen[name] += counted.sum(0)
            for t in THRESHOLDS[name]:
                self.right[name, t] += (counted & (error <= t * length)).sum(0)
        self.error += torch.where(visible, error, 0.0).sum(0)
        self.error_seen += visible.sum(0)
        right, seen = limbs_right(found, truth, visible, limbs=self.limbs)
        self.limbs_right, self.limbs_seen = self.limbs_right + right, self.limbs_seen + seen
        if "area" in batch:
            score = prediction["score"].cpu().double().mean(1)
            for i, area in enumerate(batch["area"].cpu().double()):
                one = slice(i, i + 1)
                self.precision.add(found[one], score[one], truth[one], visible=visible[one], area=area[None])

    def _length(self, name: str, truth: Tensor, visible: Tensor) -> Tensor:
        """(B,), 0 where it is not known."""
        if name == "pck_person":
            far = torch.where(visible[..., None], truth, -torch.inf).amax(1)
            near = torch.where(visible[..., None], truth, torch.inf).amin(1)
            return (far - near).amax(1).clamp_min(0)
        ends = self.ends[name]
        if ends is None:
            return torch.zeros(len(truth), dtype=torch.float64)
        first, second = ends
        length = (truth[:, first] - truth[:, second]).norm(dim=1)
        return torch.where(visible[:, first] & visible[:, second], length, 0.0)

    def merge(self, other: "PoseScores") -> None:
        for key, counts in other.right.items():
            self.right[key] += counts
        for name, counts in other.seen.items():
            self.seen[name] += counts
        self.limbs_right, self.limbs_seen = self.limbs_right + other.limbs_right, self.limbs_seen + other.limbs_seen
        self.error += other.error
        self.error_seen += other.error_seen
        self.precision.merge(other.precision)

    def compute(self) -> dict[str, Any]:
        """Shares in 0..1; None for what the set does not hold.

        Returns:
            pck@t of torsos, pckh@t of heads and pck_person@t of people, over all joints; pcp, the share of limbs of
            which both ends are within half the limb's length; mean_error in pixels of the files; pck_of_joints and
            mean_error_of_joints by name; oks_ap, oks_ap50 and oks_ap75 where the areas of people are known.
        """
        scores: dict[str, Any] = {
            f"{name}@{t:g}": _share(right.sum(), self.seen[name].sum()) for (name, t), right in self.right.items()
        }
        scores["pcp"] = self.limbs_right / self.limbs_seen if self.limbs_seen else None
        scores["mean_error"] = _share(self.error.sum(), self.error_seen.sum())
        scores["pck_of_joints"] = self._by_joint(self.right["pck", 0.2], self.seen["pck"])
        scores["mean_error_of_joints"] = self._by_joint(self.error, self.error_seen)
        return {**scores, **self.precision.compute()}

    def _by_joint(self, totals: Tensor, counts: Tensor) -> dict[str, float | None]:
        return {name: _share(totals[i], counts[i]) for i, name in enumerate(self.joints)}


def limbs_right(
    found: Tensor, truth: Tensor, visible: Tensor, *, limbs: Sequence[tuple[int, int]], share: float = 0.5
) -> tuple[int, int]:
    """Limbs of which both ends are within `share` of its length of where they should be, and limbs in all.

    Args:
        found: (B, K, 2).
        truth: (B, K, 2).
        visible: (B, K); a limb counts where both of its joints are.
        limbs: pairs of joints.
        share: of the limb's true length.

    Source: Ferrari et al. 2008, "Progressive search space reduction for human pose estimation", the strict reading.

    Example:
        >>> truth = torch.tensor([[[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]])
        >>> found = torch.tensor([[[0.0, 1.0], [10.0, 4.0], [20.0, 9.0]]])  # the last one is off by 9 of 10
        >>> limbs_right(found, truth, torch.ones(1, 3, dtype=torch.bool), limbs=[(0, 1), (1, 2)])
        (1, 2)
    """
    if not limbs:
        return 0, 0
    first, second = torch.tensor(limbs).unbind(1)
    error = (found - truth).norm(dim=2)
    most = share * (truth[:, first] - truth[:, second]).norm(dim=2)
    seen = visible[:, first] & visible[:, second]
    right = seen & (error[:, first] <= most) & (error[:, second] <= most)
    return int(right.sum()), int(seen.sum())


def _share(total: Tensor, count: Tensor) -> float | None:
    return float(total) / float(count) if count > 0 else None
