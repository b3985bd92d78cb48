"""Scores of predicted joints, one person per image; only visible joints are counted.

A joint is correct if its error is at most a share of a length of the same person: the torso (left shoulder to right
hip; LSP and FLIC), the head (neck to its top) or the person (the longer side of the box around the joints; Yang and
Ramanan 2013). People whose length is unknown, since one end of it is hidden, are left out of that score.

Differences from published scores: MPII's PCKh uses 0.6 of the diagonal of the head's box as the length of the head. PCP
is over the limbs of the data set; the ten sticks of the literature leave out the lines of neck and hips. OKS-AP treats
each person as a separate image; COCO matches all people of an image.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.metrics.oks import Annotated, AveragePrecision, deviations
from unpool.ops.skeleton import HEAD, TORSO, joints_named
from unpool.types import Batch, DataInfo, Prediction

SIZES = {"up to 64 pixels": 64.0, "up to 128": 128.0, "up to 256": 256.0, "larger": torch.inf}  # longer side of people
THRESHOLDS = {"pck": (0.05, 0.1, 0.2, 0.5), "pckh": (0.5,), "pck_person": (0.1, 0.2)}


class PoseScores:
    """Shares of correct joints by several lengths and of correct limbs, mean error in pixels; OKS-AP with areas."""

    def __init__(self, info: DataInfo) -> None:
        self.joints, self.limbs = info.keypoints, info.limbs
        self.ends = {"pck": joints_named(self.joints, TORSO), "pckh": joints_named(self.joints, HEAD)}
        count = len(self.joints)
        self.right = {(name, t): torch.zeros(count, dtype=torch.int64) for name in THRESHOLDS for t in THRESHOLDS[name]}
        self.seen = {name: torch.zeros(count, dtype=torch.int64) for name in THRESHOLDS}
        self.limbs_right, self.limbs_seen = 0, 0
        self.shares, self.people = (torch.zeros(len(SIZES), dtype=torch.float64) for _ in range(2))
        self.error, self.error_seen = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
        self.precision = AveragePrecision(deviations(self.joints))

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `keypoints` (B, K, 2) in both, the prediction's `score` (B, K), the batch's `visible` (B, K).

        The batch's `area` (B,) is optional.
        """
        predicted, reference = prediction["keypoints"].cpu().double(), batch["keypoints"].cpu().double()
        visible = batch["visible"].cpu().bool()
        error = (predicted - reference).norm(dim=2)  # (B, K)
        for name in THRESHOLDS:
            length = self._length(name, reference, visible)[:, None]
            counted = visible & (length > 0)
            self.seen[name] += counted.sum(0)
            for t in THRESHOLDS[name]:
                self.right[name, t] += (counted & (error <= t * length)).sum(0)
        self.error += torch.where(visible, error, 0.0).sum(0)
        self.error_seen += visible.sum(0)
        self._add_sizes(torch.where(visible, error, 0.0), visible, self._length("pck_person", reference, visible))
        right, seen = limbs_right(predicted, reference, visible, limbs=self.limbs)
        self.limbs_right, self.limbs_seen = self.limbs_right + right, self.limbs_seen + seen
        if "area" in batch:
            score = prediction["score"].cpu().double().mean(1)
            numbers = batch["index"].tolist() if "index" in batch else [0] * len(score)
            for one in visible.any(1).nonzero().flatten().tolist():  # COCO ignores who has no joints
                truth = Annotated(reference[one, None], visible[one, None], batch["area"][one, None].cpu().double())
                self.precision.add(predicted[one, None], score[one, None], truth, index=numbers[one])

    def _add_sizes(self, error: Tensor, visible: Tensor, length: Tensor) -> None:
        """Adds each person's mean error, as a share of the longer side, to those of about that side."""
        counted = visible.any(1) & (length > 0)
        share = (error.sum(1) / visible.sum(1) / length)[counted]
        size = torch.bucketize(length[counted], torch.tensor(list(SIZES.values()), dtype=torch.float64))
        self.shares.scatter_add_(0, size, share)
        self.people.scatter_add_(0, size, torch.ones_like(share))

    def _length(self, name: str, reference: Tensor, visible: Tensor) -> Tensor:
        """(B,) length of each person, 0 if unknown."""
        if name == "pck_person":
            far = torch.where(visible[..., None], reference, -torch.inf).amax(1)
            near = torch.where(visible[..., None], reference, torch.inf).amin(1)
            return (far - near).amax(1).clamp_min(0)
        ends = self.ends[name]
        if ends is None:
            return torch.zeros(len(reference), dtype=torch.float64)
        first, second = ends
        length = (reference[:, first] - reference[:, second]).norm(dim=1)
        return torch.where(visible[:, first] & visible[:, second], length, 0.0)

    def merge(self, other: "PoseScores") -> None:
        for key, counts in other.right.items():
            self.right[key] += counts
        for name, counts in other.seen.items():
            self.seen[name] += counts
        self.limbs_right, self.limbs_seen = self.limbs_right + other.limbs_right, self.limbs_seen + other.limbs_seen
        self.shares += other.shares
        self.people += other.people
        self.error += other.error
        self.error_seen += other.error_seen
        self.precision.merge(other.precision)

    def compute(self) -> dict[str, Any]:
        """Computes the scores: shares in 0..1, None where the set has nothing to count.

        Returns:
            pck@t of torsos, pckh@t of heads and pck_person@t of people, over all joints; pcp, the share of limbs of
            which both ends are within half the limb's length; mean_error in pixels of the files; pck_of_joints and
            mean_error_of_joints by name; error_by_size, the mean error of people of a size as a share of the longer
            side of the box around their joints; oks_ap, oks_ap50 and oks_ap75 if the areas of people are known.
        """
        scores: dict[str, Any] = {
            f"{name}@{t:g}": _share(right.sum(), self.seen[name].sum()) for (name, t), right in self.right.items()
        }
        scores["pcp"] = self.limbs_right / self.limbs_seen if self.limbs_seen else None
        scores["mean_error"] = _share(self.error.sum(), self.error_seen.sum())
        scores["pck_of_joints"] = self._by_joint(self.right["pck", 0.2], self.seen["pck"])
        scores["mean_error_of_joints"] = self._by_joint(self.error, self.error_seen)
        scores["error_by_size"] = {name: _share(self.shares[i], self.people[i]) for i, name in enumerate(SIZES)}
        return {**scores, **self.precision.compute()}

    def _by_joint(self, totals: Tensor, counts: Tensor) -> dict[str, float | None]:
        return {name: _share(totals[i], counts[i]) for i, name in enumerate(self.joints)}


def limbs_right(
    predicted: Tensor, reference: Tensor, visible: Tensor, *, limbs: Sequence[tuple[int, int]], share: float = 0.5
) -> tuple[int, int]:
    """Counts the limbs of which both ends are correct within `share` of its length, and all counted limbs.

    Args:
        predicted: (B, K, 2).
        reference: (B, K, 2).
        visible: (B, K); a limb is counted if both of its joints are visible.
        limbs: pairs of joints.
        share: of the limb's true length.

    Source: Ferrari et al. 2008, "Progressive search space reduction for human pose estimation", the strict reading.

    Example:
        >>> reference = torch.tensor([[[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]])
        >>> predicted = torch.tensor([[[0.0, 1.0], [10.0, 4.0], [20.0, 9.0]]])  # the last one is off by 9 of 10
        >>> limbs_right(predicted, reference, torch.ones(1, 3, dtype=torch.bool), limbs=[(0, 1), (1, 2)])
        (1, 2)
    """
    if not limbs:
        return 0, 0
    first, second = torch.tensor(limbs).unbind(1)
    error = (predicted - reference).norm(dim=2)
    most = share * (reference[:, first] - reference[:, second]).norm(dim=2)
    seen = visible[:, first] & visible[:, second]
    right = seen & (error[:, first] <= most) & (error[:, second] <= most)
    return int(right.sum()), int(seen.sum())


def _share(total: Tensor, count: Tensor) -> float | None:
    return float(total) / float(count) if count > 0 else None
