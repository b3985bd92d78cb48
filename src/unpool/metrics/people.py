"""Scores of the poses of many people in one image.

OKS-AP is that of `metrics.oks`, with the areas of people as annotated where the data set has them. Differs in that a
person of whom only the box is known counts for 0.53 of it, and that found people who lie where nobody is labelled are
left out before the best of an image are taken, not after. Of COCO's joints with a neck, which a reader makes up from
the shoulders, OKS is over COCO's own 17; the limbs of the neck count as limbs.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.metrics.oks import AveragePrecision, deviations
from unpool.ops.skeleton import COCO_NECK_LIMBS
from unpool.types import IGNORE, Batch, DataInfo, Prediction

SHARE = 0.5  # of a limb's length, within which both of its ends must lie
COVERED = 0.53  # of its box, what a person of COCO covers, by the middle of the set; 0.25 to 0.75 of 90 in 100


class PeopleScores:
    """Limbs joined right, people found, and OKS-AP where areas or boxes are known.

    Found people are given to true ones by the number of limbs that lie near, most first. `limbs` is a recall, which
    people found too much do not lower; limbs_precision and people_ratio stand beside it. A limb is joined right where
    one found person has both of its joints, each within half of the limb's length: the strict PCP, for which a limb
    made of two people's joints does not count. Found people most of whose joints lie where people are not labelled,
    IGNORE in the `mask`, are neither right nor wrong.
    """

    def __init__(self, info: DataInfo) -> None:
        self.limbs = torch.tensor(info.limbs)
        self.right = self.seen = self.made = 0
        self.people = self.found = 0
        self.precision = AveragePrecision(deviations(info.keypoints))
        self.counts = _counts(info.keypoints)

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `people`, lists of B (N, K, 2) with NaN where a joint is not known, and `score`."""
        for i, truth in enumerate(batch["people"]):
            found, score, truth = (x.cpu().double() for x in (prediction["people"][i], prediction["score"][i], truth))
            if "mask" in batch:
                counts = ~_on_ignored(found, batch["mask"][i].cpu())
                found, score = found[counts], score[counts]
            near = self._near(found, truth)  # (M, N, limbs)
            for m, n in _assigned(near.sum(2)):
                self.right += int(near[m, n].sum())
            self.seen += int(self._has(truth).sum())
            self.made += int(self._has(found).sum())
            self.people, self.found = self.people + len(truth), self.found + len(found)
            area = _areas(batch, i)
            if area is not None:
                known, far = ~truth.isnan().any(2) & self.counts, found.nan_to_num(nan=-1e6)
                self.precision.add(far, score, truth, visible=known, area=area)

    def _has(self, people: Tensor) -> Tensor:
        """(N, limbs): both ends are known."""
        known = ~people.isnan().any(2)
        return known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]]

    def _near(self, found: Tensor, truth: Tensor) -> Tensor:
        """(M, N, limbs): both ends of the found limb are within reach of the true one's; never where one is unknown."""
        first, second = self.limbs.unbind(1)
        error = (found[:, None] - truth[None]).norm(dim=3)  # (M, N, K), NaN where unknown
        reach = SHARE * (truth[:, first] - truth[:, second]).norm(dim=2)
        return (error[..., first] <= reach) & (error[..., second] <= reach)

    def merge(self, other: "PeopleScores") -> None:
        self.right, self.seen, self.made = self.right + other.right, self.seen + other.seen, self.made + other.made
        self.people, self.found = self.people + other.people, self.found + other.found
        self.precision.merge(other.precision)

    def compute(self) -> dict[str, Any]:
        """limbs, the share of true limbs joined right; limbs_precision, of the found ones; people_ratio.

        people_ratio is the number of found people over that of true ones, right or wrong: no recall, and above 1 where
        too many are found. None for what the set does not hold; oks_ap, oks_ap50 and oks_ap75 where areas or boxes
        are known.
        """
        return {
            "limbs": self.right / self.seen if self.seen else None,
            "limbs_precision": self.right / self.made if self.made else None,
            "people_ratio": self.found / self.people if self.people else None,
            **self.precision.compute(),
        }


def _counts(joints: Sequence[str]) -> Tensor:
    """(K,): joints of the similarity, all but the neck of COCO's with a neck."""
    is_made_up = set(joints) == {name for limb in COCO_NECK_LIMBS for name in limb}
    return torch.tensor([not (is_made_up and name == "neck") for name in joints])


def _areas(batch: Batch, place: int) -> Tensor | None:
    """(N,) pixels that the people of one image cover: as annotated, else estimated from boxes."""
    if "areas" in batch:
        return batch["areas"][place].cpu().double()
    if "boxes" not in batch:
        return None
    box = batch["boxes"][place].cpu().double()
    return COVERED * (box[:, 2:] - box[:, :2]).prod(1)


def _on_ignored(people: Tensor, mask: Tensor) -> Tensor:
    """(N,): more than half of the person's joints lie on IGNORE of the mask (H, W)."""
    x, y = people.nan_to_num().round().long().unbind(2)
    known = ~people.isnan().any(2)
    is_ignored = mask[y.clamp(0, mask.shape[0] - 1), x.clamp(0, mask.shape[1] - 1)] == IGNORE
    return 2 * (is_ignored & known).sum(1) > known.sum(1)


def _assigned(alike: Tensor) -> list[tuple[int, int]]:
    """Pairs of a found and a true person, the likest first, each in one pair at most."""
    pairs, left = [], alike.clone()
    while left.numel() and left.max() > 0:
        m, n = divmod(int(left.argmax()), left.shape[1])
        pairs.append((m, n))
        left[m], left[:, n] = -1, -1
    return pairs
