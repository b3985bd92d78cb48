"""Finds segmentations that lie beside their boxes: with y before x, of images at another size, or in runs along rows.

Source: cocodataset.org, "Data format".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unpool.data.readers.box_forms import SLACK, most_are_odd
from unpool.data.readers.coco_regions import SHAPE, extent_of, region_of

_HALF = 0.5  # of the pixels of a segmentation
Annotation = Mapping[str, Any]


def in_their_boxes(things: Sequence[Annotation]) -> tuple[list[Annotation], list[str]]:
    """Returns the annotations without those of whose segmentation more than half lies outside of their box.

    And a sentence on these, if there are any. Of polygons, the box around them counts.

    Raises:
        ValueError: more than a tenth of many lie outside, or all of a few; says what to look for.

    >>> square = {"id": 1, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4]]}
    >>> kept, sentences = in_their_boxes([square, {**square, "id": 2, "bbox": [9, 0, 4, 4]}])
    >>> kept == [square], sentences[0][:62]
    (True, '1 of 2 segmentations lie for the most part outside of their bo')
    """
    outside = find_beside(things)
    sentences = [f"{sentence}: left out with their boxes" for sentence in note_beside(things, outside)]
    return [one for one, lies_outside in zip(things, outside, strict=True) if not lies_outside], sentences


def find_beside(things: Sequence[Annotation]) -> list[bool]:
    """Returns of each annotation whether more than half of its segmentation lies outside of its box."""
    return [bool(one.get(SHAPE)) and _share_within(one) < _HALF for one in things]


def note_beside(things: Sequence[Annotation], outside: Sequence[bool]) -> list[str]:
    """Returns a sentence on the segmentations that lie outside of their boxes, if any do.

    Raises:
        ValueError: as `in_their_boxes`.
    """
    drawn = np.array([bool(one.get(SHAPE)) for one in things], bool)
    if not any(outside):
        return []
    example = things[outside.index(True)]["id"]
    doubt = f"{sum(outside)} of {drawn.sum()} segmentations lie for the most part outside of their boxes"
    doubt += f", such as that of annotation {example}"
    if most_are_odd(int(np.array(outside, bool)[drawn].sum()), int(drawn.sum())):
        raise ValueError(
            f"{doubt}; expected x before y, on an image of the size that the file says, and run lengths column by "
            "column: check how they were exported"
        )
    return [doubt]


def _share_within(one: Annotation) -> float:
    """Returns how much of a segmentation lies in its box, give or take a pixel; 1 of one that has no pixel."""
    left, top, width, height = one["bbox"]
    box = np.array([left - SLACK, top - SLACK, left + width + SLACK, top + height + SLACK])
    if isinstance(one[SHAPE], dict):
        region = region_of(one)
        return 1.0 if region.runs is None else _share_of_runs(region.runs, region.size_hw[0], box)
    low, high = np.split(np.array(extent_of(one)), 2)
    sides = (high - low).clip(min=SLACK)  # of a line, a pixel
    high = low + sides
    shown = (np.minimum(high, box[2:]) - np.maximum(low, box[:2])).clip(min=0)
    return float((shown / sides).prod()) if np.isfinite(shown).all() else 1.0  # malformed ones are named when drawn


def _share_of_runs(runs: NDArray[np.int64], height: int, box: NDArray[np.float64]) -> float:
    counts = np.where(np.arange(len(runs)) % 2, runs, 0).cumsum()
    if (runs < 0).any() or not len(runs) or not counts[-1]:
        return 1.0
    ends = np.concatenate([[0], runs.cumsum()])
    inside = np.concatenate([[0], counts])  # pixels of the segmentation up to each end
    low, high = np.floor(box[:2]).clip(min=0), np.ceil(box[2:])
    columns = np.arange(low[0], high[0]) * height
    until = np.interp(columns + min(high[1], height), ends, inside)
    return float((until - np.interp(columns + min(low[1], height), ends, inside)).sum() / counts[-1])
