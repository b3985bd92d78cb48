"""Average precision by object keypoint similarity (OKS), COCO's score of poses, counted by faster-coco-eval.

Source: cocodataset.org, "Keypoint evaluation", as in pycocotools: ten thresholds from 0.5 to 0.95, 101 recalls, the 20
best poses of an image. Crowds and people without labelled joints are neither right nor wrong: a pose that no other
person gets may get one of them, by its distance from the box of twice the size. Differs in that people are not grouped
by size, and that areas are estimated from boxes if the data set has no areas (`metrics.people`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unpool.metrics.coco import count_matches
from unpool.ops.sides import unsided

_DEVIATIONS = {  # of COCO's joints; the neck and the top of the head as in CrowdPose
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089, "neck": 0.079, "head_top": 0.079},
}
_OTHERS = 0.079
_FAR = -1e6  # pixels: where a joint is that was not predicted; a similarity of 0 to any joint
_PERSON = 1  # the only class


class Annotated(NamedTuple):
    """The people of one image.

    Attributes:
        joints: (N, K, 2) x, y.
        visible: (N, K) bool: labelled joints; who has none is ignored, and left out without `boxes`.
        area: (N,) pixels.
        boxes: (N, 4) xyxy of who is ignored; may be None.
        is_crowd: (N,) bool, who may be assigned to any number of poses; None for nobody.
    """

    joints: Tensor
    visible: Tensor
    area: Tensor
    boxes: Tensor | None = None
    is_crowd: Tensor | None = None


def deviations(names: Sequence[str]) -> Tensor:
    """Returns the deviation (K,) of annotations of each joint, in square roots of the person's area.

    Example:
        >>> deviations(["nose", "left_hip", "RHip"])
        tensor([0.0260, 0.1070, 0.1070], dtype=torch.float64)
    """
    return torch.tensor([_DEVIATIONS.get(unsided(name), _OTHERS) for name in names], dtype=torch.float64)


class AveragePrecision:
    """Average precision over a whole set of images, each with any number of people.

    Args:
        sigmas: (K,) as in `deviations`.

    Example:
        >>> precision, person = AveragePrecision(torch.tensor([0.1])), torch.tensor([[[10.0, 10.0]]])
        >>> truth = Annotated(person, torch.tensor([[True]]), torch.tensor([100.0]))
        >>> precision.add(person + torch.tensor([2.0, 0.0]), torch.tensor([1.0]), truth)  # a similarity of 0.61
        >>> {name: round(value, 4) for name, value in precision.compute().items()}
        {'oks_ap': 0.3, 'oks_ap50': 1.0, 'oks_ap75': 0.0}
    """

    def __init__(self, sigmas: Tensor) -> None:
        self.sigmas = sigmas.double().numpy()
        self.images: list[tuple[int, list[dict[str, Any]], list[dict[str, Any]]]] = []  # people and poses of each

    def add(self, predicted: Tensor, score: Tensor, truth: Annotated, *, index: int = 0) -> None:
        """Adds an image: predicted poses (M, K, 2) with scores (M,), and its people.

        A joint that is not finite is wrong. Poses of equal scores are ranked by the `index` of their images.
        """
        self.images.append((index, _people(truth), _poses(predicted, score)))

    def merge(self, other: "AveragePrecision") -> None:
        self.images += other.images

    def compute(self) -> dict[str, Any]:
        """Computes oks_ap (mean over the thresholds), oks_ap50 and oks_ap75; empty if nobody has labelled joints."""
        if not any(one["num_keypoints"] and not one["iscrowd"] for _, people, _ in self.images for one in people):
            return {}
        ordered = sorted(self.images, key=lambda image: image[0])
        people, poses = [image[1] for image in ordered], [image[2] for image in ordered]
        precision, _ = count_matches(people, poses, "keypoints", sigmas=self.sigmas.tolist())
        each = precision[:, :, 0, 0, 0].mean(1)  # of people of any size
        return {"oks_ap": float(each.mean()), "oks_ap50": float(each[0]), "oks_ap75": float(each[5])}


def _people(truth: Annotated) -> list[dict[str, Any]]:
    visible = truth.visible
    joints = torch.cat([torch.where(visible[..., None], truth.joints, 0), 2 * visible[..., None]], dim=2)  # (N, K, 3)
    boxes = torch.zeros(len(joints), 4) if truth.boxes is None else truth.boxes.clone()
    boxes[:, 2:] -= boxes[:, :2]  # left, top, width, height
    crowds = torch.zeros(len(joints)) if truth.is_crowd is None else truth.is_crowd
    columns = (joints.flatten(1), visible.sum(1), truth.area, boxes, crowds.int())
    names = ("keypoints", "num_keypoints", "area", "bbox", "iscrowd")
    records: list[dict[str, Any]] = [
        {**dict(zip(names, row, strict=True)), "category_id": _PERSON}
        for row in zip(*(x.tolist() for x in columns), strict=True)
    ]
    return [one for one in records if one["num_keypoints"] or truth.boxes is not None]


def _poses(predicted: Tensor, score: Tensor) -> list[dict[str, Any]]:
    joints = torch.where(predicted.isfinite().all(2, keepdim=True), predicted, _FAR)
    flat = torch.cat([joints, torch.ones_like(joints[..., :1])], dim=2).flatten(1).tolist()
    scores = score.nan_to_num(nan=-torch.inf).tolist()
    return [
        {"keypoints": pose, "score": value, "area": 1.0, "bbox": [0.0] * 4, "category_id": _PERSON}
        for pose, value in zip(flat, scores, strict=True)
    ]
