"""COCO's average precision and recall of boxes and masks, counted by faster-coco-eval.

Source: cocodataset.org, "Detection evaluation", as in pycocotools: ten thresholds of IoU from 0.5 to 0.95, 101 recalls,
the 100 best detections of a class in an image, sizes up to 32 and 96 pixels squared. Any number of detections may lie
in a crowd, by the share of their own pixels; they are neither right nor wrong. Differs in that things which are
difficult are ignored as those of another size are (COCO has none), that the size of a detected mask is that of its
pixels, and that a box whose right side is left of its left one is wrong, which pycocotools does not count.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unpool.metrics.detection_record import DetectionRecord, Detections, Segmentation

_SIZES = ("small", "medium", "large")
_OF_NO_SIZE = -1.0  # pixels: less than any size that is counted
_log = logging.getLogger(__name__)


def coco_scores(record: DetectionRecord, kind: Literal["boxes", "masks"] = "boxes") -> dict[str, Any]:
    """Computes the scores of a set: shares in 0..1, None where there is nothing to count.

    Returns:
        ap, the mean over thresholds and classes; ap50 and ap75 at IoU 0.5 and 0.75; ap_small, ap_medium and ap_large;
        recalls ar1, ar10 and ar100 with as many detections of a class in an image; ar_small, ar_medium and ar_large;
        by class name ap_by_class and ap50_by_class; classes_measured, the number of classes of which there is a thing.
        Those of masks begin with "mask_".

    Example:
        >>> import torch
        >>> record, box = DetectionRecord(["cat"]), torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = {"boxes": [box], "labels": [torch.tensor([0])], "size_hw": torch.tensor([[20, 20]])}
        >>> shifted = {"boxes": [box + 1.0], "labels": truth["labels"], "score": [torch.tensor([0.9])]}  # IoU 0.68
        >>> record.update(shifted, truth | {"index": torch.tensor([0])})
        >>> {name: round(value, 2) for name, value in coco_scores(record).items() if name in ("ap", "ap50", "ap75")}
        {'ap': 0.4, 'ap50': 1.0, 'ap75': 0.0}
    """
    images = record.ordered()
    truth = [_truth_of(image, kind) for image in images]
    detections = [_detections_of(image, kind) for image in images]
    native = "bbox" if kind == "boxes" else "segm"
    sizes_hw = [image.size_hw for image in images]
    precision, recall = count_matches(truth, detections, native, classes=len(record.classes), sizes_hw=sizes_hw)
    precision = precision[..., -1]  # of the 100 best: (thresholds, recalls, classes, sizes)
    scores = {"ap": precision[..., 0], "ap50": precision[0, ..., 0], "ap75": precision[5, ..., 0]}
    scores |= {f"ap_{size}": precision[..., n] for n, size in enumerate(_SIZES, 1)}
    scores |= {f"ar{most}": recall[:, :, 0, n] for n, most in enumerate((1, 10, 100))}
    scores |= {f"ar_{size}": recall[:, :, n, -1] for n, size in enumerate(_SIZES, 1)}
    by_class = {
        name: {label: _mean(part[..., k, 0]) for k, label in enumerate(record.classes)}
        for name, part in (("ap_by_class", precision), ("ap50_by_class", precision[0]))
    }
    measured = sum(value is not None for value in by_class["ap_by_class"].values())
    named = {**{name: _mean(part) for name, part in scores.items()}, **by_class, "classes_measured": measured}
    return named if kind == "boxes" else {f"mask_{name}": value for name, value in named.items()}


def count_matches(
    truth: Sequence[Sequence[dict[str, Any]]],
    answers: Sequence[Sequence[dict[str, Any]]],
    kind: Literal["bbox", "segm", "keypoints"],
    *,
    classes: int = 1,
    sizes_hw: Sequence[tuple[int, int]] = (),
    sigmas: Sequence[float] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns precision and recall as pycocotools has them, -1 where there is nothing to count.

    Args:
        truth: records of COCO's format of each image, without ids.
        answers: the same, with scores.
        kind: what the records are compared by.
        classes: number of them; `category_id` is from 1 to it.
        sizes_hw: of the images; needed for masks only.
        sigmas: deviations of keypoints.

    Returns:
        (thresholds, recalls, classes, sizes, limits) and (thresholds, classes, sizes, limits).

    Example:
        >>> thing = {"bbox": [0.0, 0.0, 10.0, 10.0], "area": 100.0, "category_id": 1, "iscrowd": 0}
        >>> precision, recall = count_matches([[thing]], [[{**thing, "score": 0.9}]], "bbox")
        >>> precision.shape, recall[:, 0, 0, -1].tolist()
        ((10, 101, 1, 4, 3), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    """
    from faster_coco_eval.core import COCO, COCOeval_faster  # not at import: it imports OpenCV where there is one

    expected, detected = (
        COCO(_content(images, classes=classes, sizes_hw=sizes_hw), print_function=_log.debug)
        for images in (truth, answers)
    )
    deviations = None if sigmas is None else list(sigmas)
    counted = COCOeval_faster(expected, detected, kind, print_function=_log.debug, kpt_oks_sigmas=deviations)
    counted.evaluate()
    return np.asarray(counted.eval["precision"]), np.asarray(counted.eval["recall"])


def _content(
    images: Sequence[Sequence[dict[str, Any]]], *, classes: int, sizes_hw: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    """The records of each image under ids counted from 1, in COCO's format."""
    records = [{**record, "image_id": number} for number, image in enumerate(images, 1) for record in image]
    sizes = [{"height": height, "width": width} for height, width in sizes_hw] or [{}] * len(images)
    return {
        "images": [{"id": number, **size} for number, size in enumerate(sizes, 1)],
        "categories": [{"id": number} for number in range(1, classes + 1)],
        "annotations": [{**record, "id": number} for number, record in enumerate(records, 1)],
    }


def _truth_of(image: Detections, kind: str) -> list[dict[str, Any]]:
    truth = image.truth
    areas = np.where(truth.difficult, _OF_NO_SIZE, truth.areas)
    records = _records(truth.boxes, truth.labels, areas, truth.masks if kind == "masks" else None)
    return [{**one, "iscrowd": crowd} for one, crowd in zip(records, truth.crowd.astype(int).tolist(), strict=True)]


def _detections_of(image: Detections, kind: str) -> list[dict[str, Any]]:
    sizes = (image.boxes[:, 2:] - image.boxes[:, :2]).prod(1)
    areas, masks = (sizes, None) if kind == "boxes" else (image.mask_areas, image.masks)
    records = _records(image.boxes, image.labels, areas, masks)
    return [{**one, "score": score} for one, score in zip(records, image.score.tolist(), strict=True)]


def _records(
    boxes: NDArray[np.float64],
    labels: NDArray[np.int64],
    areas: NDArray[np.float64],
    masks: Sequence[Segmentation] | None,
) -> list[dict[str, Any]]:
    rows = zip(
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist(),
        areas.tolist(),
        (labels + 1).tolist(),
        strict=True,
    )
    records = [{"bbox": box, "area": area, "category_id": number} for box, area, number in rows]
    if masks is None:
        return records
    return [{**one, "segmentation": dict(mask)} for one, mask in zip(records, masks, strict=True)]


def _mean(values: NDArray[np.float64]) -> float | None:
    counted = values[values > -1]
    return float(counted.mean()) if counted.size else None
