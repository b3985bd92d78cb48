"""Finds boxes of people and things that are no [left, top, width, height], by what the whole file says.

A box votes for corners, [left, top, right, bottom], where that reading agrees better with its image, the extent of its
polygons, its joints or its area, and for sizes where those do. One box may be a slip of whoever drew it: it is counted
in a note. Where most of those that vote say the same, the file is refused.

Source: cocodataset.org, "Data format".
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.readers.box_forms import SLACK, most_are_odd, odd_areas
from unpool.data.readers.coco_regions import extent_of

_OUTSIDE = 0.1  # of a side of the box, by which joints may lie beyond it: COCO's do in 1 of 200 people
_SIDE = 8  # pixels; an image of less may have a box of one pixel
_PART = 1 << 15  # people whose joints are compared at once
_NO_JOINT = (0, 0, 0)  # of a thing that is no person
Annotation = Mapping[str, Any]


class _Boxes(NamedTuple):
    """The boxes of P people, and what they must agree with.

    Attributes:
        low: (P, 2) left and top.
        third: (P, 2) the two last numbers.
        size: (P, 2) width and height of the image.
        extent: (P, 4) left, top, right and bottom of the polygons, NaN where there are none.
        joints: (P, K, 2) x, y, NaN for an unlabelled one.
        area: (P,) pixels.
        is_crowd: (P,) bool.
    """

    low: NDArray[np.float64]
    third: NDArray[np.float64]
    size: NDArray[np.float64]
    extent: NDArray[np.float64]
    joints: NDArray[np.float64]
    area: NDArray[np.float64]
    is_crowd: NDArray[np.bool_]

    @classmethod
    def of(cls, people: Sequence[Annotation], sizes_hw: Mapping[int, tuple[int, int]]) -> "_Boxes":
        box = np.array([one["bbox"] for one in people], float)
        size = np.array([sizes_hw[one["image_id"]][::-1] for one in people], float)
        stored = np.array([one.get("keypoints", _NO_JOINT) for one in people], float).reshape(len(people), -1, 3)
        joints = np.where(stored[..., 2:] > 0, stored[..., :2], np.nan)
        extent = np.array([extent_of(one) for one in people])
        area, crowd = (np.array([one[key] for one in people]) for key in ("area", "iscrowd"))
        return cls(box[:, :2], box[:, 2:], size, extent, joints, area, crowd.astype(bool))

    def votes(self) -> NDArray[np.int64]:
        """Returns (P,) 1 for corners, -1 for sizes, 0 where both agree as well."""
        as_sizes, as_corners = self._misfit(self.low + self.third), self._misfit(self.third)
        decides = (self.third > 0).all(1) & (self.low != 0).any(1)
        corners, sizes = as_corners + SLACK < as_sizes, as_sizes + SLACK < as_corners
        return (corners.astype(int) - sizes) * decides

    def _misfit(self, high: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns (P,) by how many pixels boxes that end at `high` (P, 2) disagree; infinite where it is no end."""
        beyond = (high - self.size).max(1).clip(min=0)
        from_polygons = np.abs(np.concatenate([self.low, high], axis=1) - self.extent).max(1)
        outside = np.fmax(self.low[:, None] - self.joints, self.joints - high[:, None])
        from_joints = np.fmax(outside.reshape(len(high), -1), 0).max(1)
        is_area = self.area == (high - self.low).prod(1)
        misfit = beyond + np.where(np.isnan(from_polygons), from_joints - 2 * SLACK * is_area, from_polygons)
        return np.where((high > self.low).all(1), misfit, np.inf)

    def are_apart(self) -> NDArray[np.bool_]:
        """Returns (P,) whether most of the labelled joints are outside of the box."""
        slack = SLACK + _OUTSIDE * self.third
        low, high = (self.low - slack)[:, None], (self.low + self.third + slack)[:, None]
        outside = ((self.joints < low) | (self.joints > high)).any(2).sum(1)
        return (self.third > 0).all(1) & (2 * outside > self.labelled()) & (self.labelled() > 0)

    def at_origin(self) -> NDArray[np.bool_]:
        """Returns (P,) whether a labelled joint is at 0, 0, which the box does not hold: where it is not known."""
        return (self.joints == 0).all(2).any(1) & (self.low > SLACK).any(1)

    def labelled(self) -> NDArray[np.int64]:
        """Returns (P,) the number of labelled joints, 0 for a crowd."""
        return (~np.isnan(self.joints[..., 0])).sum(1) * ~self.is_crowd


def check_boxes(people: Sequence[Annotation], sizes_hw: Mapping[int, tuple[int, int]]) -> list[str]:
    """Returns a sentence on each kind of doubtful boxes.

    Args:
        people: annotations, valid one by one.
        sizes_hw: of the images, by id.

    Raises:
        ValueError: most boxes are corners, or fractions of the image, or have their joints elsewhere, or areas are not
            theirs; says how to mend.
    """
    _require_pixels(people, sizes_hw)
    parts = [_Boxes.of(people[i : i + _PART], sizes_hw) for i in range(0, len(people), _PART)]
    if not parts:
        return []
    votes = np.concatenate([part.votes() for part in parts])
    apart = np.concatenate([part.are_apart() for part in parts])
    labelled = sum(int((part.labelled() > 0).sum()) for part in parts)
    odd = np.concatenate([odd_areas(part.area, part.third) for part in parts])
    at_origin = np.concatenate([part.at_origin() for part in parts])
    notes = [*_note_corners(people, votes), *_note_joints(people, apart, labelled=labelled)]
    notes += _note_origin(people, at_origin, labelled=labelled)
    counted = np.concatenate([~part.is_crowd for part in parts])
    return [*notes, *_note_areas([one for one in people if not one["iscrowd"]], odd[counted])]


def _note_corners(people: Sequence[Annotation], votes: NDArray[np.int64]) -> list[str]:
    is_corners = votes > 0
    if not is_corners.any():
        return []
    count = int(is_corners.sum())
    doubt = f"{count} of {len(people)} boxes fit image, polygons or joints better as corners"
    doubt += f", {_such_as(people, is_corners)}"
    if count > int((votes < 0).sum()):
        advice = "subtract the first two numbers of each bbox from its last two"
        raise ValueError(f"{doubt}; expected [left, top, width, height]: {advice}")
    return [f"{doubt}: taken for left, top, width, height as the others"]


def _note_joints(people: Sequence[Annotation], is_apart: NDArray[np.bool_], *, labelled: int) -> list[str]:
    if not is_apart.any():
        return []
    count = int(is_apart.sum())
    doubt = f"{count} of {labelled} people have most of their joints outside of their box"
    doubt += f", {_such_as(people, is_apart)}"
    if 2 * count > labelled:
        raise ValueError(f"{doubt}; expected both in pixels of one image: check how they were exported")
    return [doubt]


def _note_origin(people: Sequence[Annotation], is_at_origin: NDArray[np.bool_], *, labelled: int) -> list[str]:
    if not is_at_origin.any():
        return []
    one, count = people[int(is_at_origin.argmax())], int(is_at_origin.sum())
    doubt = f"{count} of {labelled} people have a labelled joint at 0, 0 and their box elsewhere, such as annotation"
    doubt += f" {one['id']}"
    if most_are_odd(count, labelled):
        raise ValueError(f"{doubt}; expected 0 as third number where a joint is not known: write it")
    return [f"{doubt}: taken as they are"]


def _note_areas(people: Sequence[Annotation], is_odd: NDArray[np.bool_]) -> list[str]:
    if not is_odd.any():
        return []
    one = people[int(is_odd.argmax())]
    doubt = f"{is_odd.sum()} of {len(people)} areas are those of nothing in their boxes"
    doubt += f", such as {one['area']:g} in {one['bbox']} of annotation {one['id']}"
    if most_are_odd(int(is_odd.sum()), len(is_odd)):
        advice = "write the pixels that each thing covers, or width times height of its box"
        raise ValueError(f"{doubt}, by which small and large are told apart, and joints are measured: {advice}")
    return [f"{doubt}: taken as they are"]


def _such_as(people: Sequence[Annotation], which: NDArray[np.bool_]) -> str:
    one = people[int(which.argmax())]
    return f"such as {one['bbox']} of annotation {one['id']}"


def _require_pixels(people: Sequence[Annotation], sizes_hw: Mapping[int, tuple[int, int]]) -> None:
    """Raises where all boxes, or all joints, are fractions of the image."""
    large = [one for one in people if min(sizes_hw[one["image_id"]]) >= _SIDE]
    boxes = (value for one in large for value in one["bbox"])
    joints = (value for one in large for axis in (0, 1) for value in one.get("keypoints", _NO_JOINT)[axis::3])
    for what, values in (("boxes", boxes), ("joints", joints)):
        most = 0.0
        for value in values:
            most = max(most, abs(value))
            if most > 1:
                break
        if 0 < most <= 1:
            advice = "multiply x and width by the width of the image, y and height by its height"
            raise ValueError(f"all {what} are numbers up to 1, fractions of the image; expected pixels: {advice}")
