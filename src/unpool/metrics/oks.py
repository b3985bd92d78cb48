"""Average precision by object keypoint similarity (OKS), COCO's score of poses.

Source: cocodataset.org, "Keypoint evaluation", as in pycocotools: ten thresholds from 0.5 to 0.95, 101 recalls, the 20
best poses of an image. Differs in that people are not grouped by size, that the reader leaves out crowds, and that
areas are estimated from boxes if the data set has no areas (`metrics.people`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

THRESHOLDS = tuple(0.5 + 0.05 * i for i in range(10))
MOST = 20  # predicted poses of one image that are counted
RECALLS = np.linspace(0, 1, 101)
_DEVIATIONS = {  # of COCO's joints; the neck and the top of the head as in CrowdPose
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089, "neck": 0.079, "head_top": 0.079},
}
_OTHERS = 0.079


def deviations(names: Sequence[str]) -> Tensor:
    """Returns the deviation (K,) of annotations of each joint, in square roots of the person's area.

    Example:
        >>> deviations(["nose", "left_hip"])
        tensor([0.0260, 0.1070], dtype=torch.float64)
    """
    kinds = [name.removeprefix("left_").removeprefix("right_") for name in names]
    return torch.tensor([_DEVIATIONS.get(kind, _OTHERS) for kind in kinds], dtype=torch.float64)


def similarity(predicted: Tensor, reference: Tensor, visible: Tensor, *, area: Tensor, sigmas: Tensor) -> Tensor:
    """Computes the object keypoint similarity of each predicted pose with each reference pose.

    Args:
        predicted: (M, K, 2) x, y.
        reference: (N, K, 2) x, y.
        visible: (N, K) labelled joints; the others are not counted.
        area: (N,) pixels of each reference person.
        sigmas: (K,) as in `deviations`.

    Returns:
        (M, N): mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2)), 0 where a person has none.

    Example:
        >>> reference, sigmas = torch.tensor([[[10.0, 10.0]]]), torch.tensor([0.1])
        >>> predicted = torch.tensor([[[10.0, 10.0]], [[12.0, 10.0]]])  # right, and two pixels beside
        >>> similarity(predicted, reference, torch.tensor([[True]]), area=torch.tensor([100.0]), sigmas=sigmas)
        tensor([[1.0000],
                [0.6065]])
    """
    square = (predicted[:, None] - reference[None]).square().sum(3)  # (M, N, K)
    scale = 2 * area.clamp_min(1e-9)[None, :, None] * (2 * sigmas).square()
    near = torch.where(visible[None], torch.exp(-square / scale), 0.0).sum(2)
    return near / visible.sum(1).clamp_min(1)


class AveragePrecision:
    """Average precision over a whole set of images, each with any number of people.

    Args:
        sigmas: (K,) as in `deviations`.
    """

    def __init__(self, sigmas: Tensor) -> None:
        self.sigmas = sigmas
        self.scores: list[float] = []
        self.hits: list[list[bool]] = []  # of each predicted pose, at each threshold
        self.people = 0

    def add(self, predicted: Tensor, score: Tensor, reference: Tensor, *, visible: Tensor, area: Tensor) -> None:
        """Adds an image: predicted poses (M, K, 2) with scores (M,), and reference poses (N, K, 2).

        Reference people have `visible` (N, K) and `area` (N,). Only the `MOST` predictions of highest score are
        counted.
        """
        labelled = visible.any(1)
        reference, visible, area = reference[labelled], visible[labelled], area[labelled]
        order = score.argsort(descending=True, stable=True)[:MOST]
        alike = similarity(predicted[order], reference.nan_to_num(), visible, area=area, sigmas=self.sigmas)
        hits = torch.stack([_matched(alike, threshold) for threshold in THRESHOLDS], dim=1)
        self.scores += score[order].tolist()
        self.hits += hits.tolist()
        self.people += len(reference)

    def merge(self, other: "AveragePrecision") -> None:
        self.scores += other.scores
        self.hits += other.hits
        self.people += other.people

    def compute(self) -> dict[str, Any]:
        """Computes oks_ap (mean over the thresholds), oks_ap50 and oks_ap75; empty if no person was added."""
        if not self.people:
            return {}
        order = np.argsort(-np.array(self.scores), kind="mergesort")
        hits = np.array(self.hits, dtype=bool).reshape(-1, len(THRESHOLDS))[order]
        each = [_precision(hits[:, i], self.people) for i in range(len(THRESHOLDS))]
        return {"oks_ap": float(np.mean(each)), "oks_ap50": each[0], "oks_ap75": each[5]}


def _matched(alike: Tensor, threshold: float) -> Tensor:
    """(M, N) similarities, best score first -> (M,) bool: whether the pose gets a person above the threshold.

    Each pose in turn gets the most similar person that no pose before it got.
    """
    free = torch.ones(alike.shape[1], dtype=torch.bool)
    hits = torch.zeros(len(alike), dtype=torch.bool)
    for i, row in enumerate(alike):
        left = torch.where(free, row, -1.0)
        if len(left) and left.max() >= threshold:
            hits[i] = True
            free[left.argmax()] = False
    return hits


def _precision(hits: np.ndarray, people: int) -> float:
    """Area under the precision-recall curve, made non-increasing, at 101 recalls."""
    right = np.cumsum(hits)
    precision = np.maximum.accumulate((right / np.arange(1, len(hits) + 1))[::-1])[::-1]
    index = np.searchsorted(right / people, RECALLS, side="left")
    return float(np.append(precision, 0.0)[index].mean())
