"""Detections as COCO's result files have them: one list of dicts for all images.

Source: https://cocodataset.org/#format-results.
"""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any


def as_results(records: Sequence[Mapping[str, Any]], class_ids: Sequence[int] = ()) -> list[dict[str, Any]]:
    """One dict a detection: image_id, category_id, bbox (left, top, width, height) and score, best first by image.

    Where the records have them, also segmentation, and keypoints as x, y and 1 of each joint.

    Args:
        records: of images, each with `image_id`, `boxes`, `labels` and `score`; those without boxes are left out.
        class_ids: the number of each class in the data set's own files; counted from 1 where empty.

    Example:
        >>> record = {"image_id": 7, "boxes": [[1.0, 2.0, 4.0, 8.0]], "labels": [0], "score": [0.5]}
        >>> as_results([record])
        [{'image_id': 7, 'category_id': 1, 'bbox': [1.0, 2.0, 3.0, 6.0], 'score': 0.5}]
    """
    return [
        {
            "image_id": record["image_id"],
            "category_id": class_ids[label] if class_ids else label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
            **more,
        }
        for record in records
        for (left, top, right, bottom), label, score, more in zip(
            *(record.get(key, ()) for key in ("boxes", "labels", "score")), _more(record), strict=True
        )
    ]


def _more(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a record has of each box beside class and score."""
    each: list[dict[str, Any]] = [{} for _ in record.get("boxes", ())]
    if "segmentations" in record:
        each = [{"segmentation": mask} for mask in record["segmentations"]]
    if "people" in record:
        each = [{"keypoints": [value for x, y in joints for value in (x, y, 1)]} for joints in record["people"]]
    return each


def image_ids(names: Sequence[str]) -> tuple[list[int], str]:
    """The number in the name of each image file, as COCO's images have it; else their positions, counted from 1.

    Which of the two, in words, is the second value: the numbers of a set's own annotations may be others than either.

    >>> image_ids(["val/000000000139.jpg", "val/000000000285.jpg"])
    ([139, 285], 'the number in its file name')
    >>> image_ids(["a/7.jpg", "b/7.jpg"])
    ([1, 2], 'its position among the images, from 1')
    """
    stems = [PurePath(name).stem for name in names]
    if all(stem.isascii() and stem.isdigit() for stem in stems) and len({int(stem) for stem in stems}) == len(stems):
        return [int(stem) for stem in stems], "the number in its file name"
    return list(range(1, len(stems) + 1)), "its position among the images, from 1"
