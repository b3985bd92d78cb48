"""Scores of the poses of many people in one image.

OKS-AP is that of `metrics.oks`, over the images that the reader has, with the annotated areas of people if the data set
has them. Differs in that the area of a person with only a box is 0.53 of the box. With COCO's joints and a neck, which
the reader computes from the shoulders, OKS is over COCO's 17 joints; limbs that end at the neck are counted as limbs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.metrics.oks import Annotated, AveragePrecision, deviations
from unpool.ops.people import areas_of_people
from unpool.ops.skeleton import COCO_NECK_LIMBS
from unpool.types import IGNORE, Batch, DataInfo, Prediction

SHARE = 0.5  # of a limb's length: largest error of each of its ends


class PeopleScores:
    """Recall and precision of limbs, ratio of people, and OKS-AP if areas or boxes are known.

    Predicted people are assigned to reference people by the number of correct limbs, most first. A limb is correct if
    one predicted person has both of its joints, each within half of the limb's length: the strict PCP, for which a limb
    made of two people's joints is wrong. `limbs` is a recall, which superfluous predictions do not lower;
    limbs_precision and people_ratio do. Predicted people most of whose joints are on IGNORE of the `mask`, where people
    are not labelled, are not counted; in OKS-AP they are where the batch has the boxes of those people as `ignored`.
    """

    def __init__(self, info: DataInfo) -> None:
        self.limbs = torch.tensor(info.limbs)
        self.right = self.seen = self.made = 0
        self.people = self.predicted = 0
        self.counts = counted_joints(info.keypoints)
        self.precision = AveragePrecision(deviations(info.keypoints)[self.counts])

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `people`, lists of B (N, K, 2) with NaN for unknown joints, and the prediction's `score`."""
        for i, reference in enumerate(batch["people"]):
            people, score, reference = (
                x.cpu().double() for x in (prediction["people"][i], prediction["score"][i], reference)
            )
            everyone = people, score
            if "mask" in batch:
                counts = ~_on_ignored(people, batch["mask"][i].cpu())
                people, score = people[counts], score[counts]
            near = self._near(people, reference)  # (M, N, limbs)
            for m, n in _assigned(near.sum(2)):
                self.right += int(near[m, n].sum())
            self.seen += int(self._has(reference).sum())
            self.made += int(self._has(people).sum())
            self.people, self.predicted = self.people + len(reference), self.predicted + len(people)
            truth = annotated(batch, i, self.counts)
            if truth is not None:
                people, score = everyone if "ignored" in batch else (people, score)
                index = int(batch["index"][i]) if "index" in batch else 0
                self.precision.add(people[:, self.counts], score, truth, index=index)

    def _has(self, people: Tensor) -> Tensor:
        """(N, limbs): both ends are known."""
        known = ~people.isnan().any(2)
        return known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]]

    def _near(self, people: Tensor, reference: Tensor) -> Tensor:
        """(M, N, limbs): whether both ends of the predicted limb are near those of the reference; False if unknown."""
        first, second = self.limbs.unbind(1)
        error = (people[:, None] - reference[None]).norm(dim=3)  # (M, N, K), NaN where unknown
        reach = SHARE * (reference[:, first] - reference[:, second]).norm(dim=2)
        return (error[..., first] <= reach) & (error[..., second] <= reach)

    def merge(self, other: "PeopleScores") -> None:
        self.right, self.seen, self.made = self.right + other.right, self.seen + other.seen, self.made + other.made
        self.people, self.predicted = self.people + other.people, self.predicted + other.predicted
        self.precision.merge(other.precision)

    def compute(self) -> dict[str, Any]:
        """Computes limbs, the share of reference limbs that were predicted, limbs_precision and people_ratio.

        limbs_precision is the share of predicted limbs that are correct, people_ratio the number of predicted people
        over that of reference people, correct or not: above 1 if too many are predicted. None where the set has nothing
        to count. oks_ap, oks_ap50 and oks_ap75 are there if areas or boxes are known.
        """
        return {
            "limbs": self.right / self.seen if self.seen else None,
            "limbs_precision": self.right / self.made if self.made else None,
            "people_ratio": self.predicted / self.people if self.people else None,
            **self.precision.compute(),
        }


def counted_joints(joints: Sequence[str]) -> Tensor:
    """(K,) bool: whether a joint counts in OKS; all do except the neck that was added to COCO's joints.

    >>> counted_joints(("nose", "neck"))
    tensor([True, True])
    """
    is_made_up = set(joints) == {name for limb in COCO_NECK_LIMBS for name in limb}
    return torch.tensor([not (is_made_up and name == "neck") for name in joints])


def annotated(batch: Batch, index: int, counts: Tensor) -> Annotated | None:
    """The people of one image, those that are ignored last; None where neither areas nor boxes are known.

    >>> batch = {"people": [torch.zeros(1, 2, 2)], "boxes": [torch.tensor([[0.0, 0, 4, 5]])]}
    >>> annotated(batch, 0, torch.tensor([True, True])).boxes
    tensor([[0., 0., 4., 5.]], dtype=torch.float64)
    """
    boxes, areas, others = (
        batch[key][index].cpu().double() if key in batch else None for key in ("boxes", "areas", "ignored")
    )
    joints = batch["people"][index].cpu().double()[:, counts]
    visible = ~joints.isnan().any(2)
    if areas is None:
        if boxes is None:
            return None
        areas = areas_of_people(boxes)
    if boxes is None:
        labelled = visible.any(1)
        joints, visible, areas = joints[labelled], visible[labelled], areas[labelled]
        boxes = joints.new_zeros(len(joints), 4)
    if others is None:
        return Annotated(joints, visible, areas, boxes)
    hidden = visible.new_zeros(len(others), visible.shape[1])
    return Annotated(
        joints=torch.cat([joints, joints.new_zeros(*hidden.shape, 2)]),
        visible=torch.cat([visible, hidden]),
        area=torch.cat([areas, others[:, 4]]),
        boxes=torch.cat([boxes, others[:, :4]]),
        is_crowd=torch.cat([torch.zeros(len(joints)), others[:, 5]]).bool(),
    )


def _on_ignored(people: Tensor, mask: Tensor) -> Tensor:
    """(N,) bool: whether more than half of a person's joints are on IGNORE of the mask (H, W)."""
    x, y = people.nan_to_num().round().long().unbind(2)
    known = ~people.isnan().any(2)
    is_ignored = mask[y.clamp(0, mask.shape[0] - 1), x.clamp(0, mask.shape[1] - 1)] == IGNORE
    return 2 * (is_ignored & known).sum(1) > known.sum(1)


def _assigned(alike: Tensor) -> list[tuple[int, int]]:
    """Pairs of a predicted and a reference person, those with most correct limbs first, each in at most one pair."""
    pairs, left = [], alike.clone()
    while left.numel() and left.max() > 0:
        m, n = divmod(int(left.argmax()), left.shape[1])
        pairs.append((m, n))
        left[m], left[:, n] = -1, -1
    return pairs
