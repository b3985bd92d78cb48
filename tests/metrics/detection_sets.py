"""Generated sets of detections, and what pycocotools and the rule of VOC's development kit count of them."""

import contextlib
import io
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unpool.metrics.detection import DetectionScores
from unpool.types import DataInfo

CLASSES = ("cat", "dog", "bird", "never")  # of the last there is nothing, though detections of it are


class Set(NamedTuple):
    """Batches of one image, each with its prediction."""

    batches: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


def drawn_set(seed: int, *, images: int = 6, masks: bool = True, most: int = 5, flag: str = "crowd") -> Set:
    """Images with up to so many things, some of them flagged, and detections near and beside them, some as good."""
    rng = np.random.default_rng(seed)
    batches, predictions = [], []
    for index in range(images):
        things = int(rng.integers(0, most + 1)) if index else 0  # the first is empty
        size_hw = (int(rng.integers(100, 200)), int(rng.integers(100, 200)))
        truth, labels = drawn_boxes(rng, things, size_hw), rng.integers(0, 3, things)
        batch = {"boxes": truth, "labels": labels, flag: rng.random(things) < 0.25}
        found, found_labels = detections_of(rng, truth, labels, size_hw)
        score = rng.integers(0, 4, len(found)) / 4 if seed % 2 else rng.random(len(found))
        prediction = {"boxes": found, "labels": found_labels, "score": score}
        if masks:
            batch["masks"], prediction["masks"] = (ellipses(boxes, size_hw) for boxes in (truth, found))
        if seed % 3:
            batch["areas"] = rng.choice((0.0, 32.0**2, 2000.0, 96.0**2, 1e4), things)
        batches.append(
            {key: [tensor(values)] for key, values in batch.items()}
            | {"index": torch.tensor([index]), "size_hw": torch.tensor([size_hw])}
        )
        predictions.append({key: [tensor(values)] for key, values in prediction.items()})
    return Set(batches, predictions)


def tensor(values: np.ndarray) -> torch.Tensor:
    kept = torch.from_numpy(np.asarray(values))
    return kept.float() if kept.is_floating_point() else kept


def drawn_boxes(rng: np.random.Generator, count: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Whole numbers, so that some are alike and some IoU are just at a threshold."""
    size = rng.choice((8, 10, 20, 40, 100), (count, 2))
    corner = rng.integers(0, np.array(size_hw[::-1]) // 2, (count, 2))
    return np.concatenate([corner, np.minimum(corner + size, size_hw[::-1])], axis=1).astype(np.float64)


def detections_of(
    rng: np.random.Generator, truth: np.ndarray, labels: np.ndarray, size_hw: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Up to three near each thing, some of another class, and a few of nothing."""
    copies = rng.integers(0, 4, len(truth))
    near = truth.repeat(copies, axis=0)
    near = near + rng.choice((0, 1, 2, 5), near.shape) * rng.choice((-1, 1), near.shape)
    near = np.concatenate([near, drawn_boxes(rng, int(rng.integers(0, 4)), size_hw)])
    near = np.minimum(near.clip(min=0), (*size_hw[::-1], *size_hw[::-1]))
    near[:, 2:] = near[:, 2:].clip(min=near[:, :2])  # pycocotools does not count boxes of a negative size
    others = rng.integers(0, len(CLASSES), len(near))
    right = np.concatenate([labels.repeat(copies), others[copies.sum() :]])
    return near, np.where(rng.random(len(near)) < 0.2, others, right)


def ellipses(boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    left, top, right, bottom = boxes.reshape(-1, 4, 1, 1).transpose(1, 0, 2, 3)
    wide, high = np.maximum(right - left, 1) / 2, np.maximum(bottom - top, 1) / 2
    return ((x + 0.5 - left) / wide - 1) ** 2 + ((y + 0.5 - top) / high - 1) ** 2 <= 1


def ours(data: Set, *, parts: int = 1, order: Any = None, classes: tuple[str, ...] = CLASSES, **options: Any):
    """`DetectionScores` of a set whose images come in some order, in a few parts that are merged."""
    metrics = [DetectionScores(DataInfo(classes=classes), **options) for _ in range(parts)]
    for turn, i in enumerate(range(len(data.batches)) if order is None else order):
        metrics[turn % parts].update(data.predictions[i], data.batches[i])
    for other in metrics[1:]:
        metrics[0].merge(other)
    return metrics[0]


def by_pycocotools(data: Set, kind: str = "bbox", classes: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    """What `coco_scores` returns, by pycocotools."""
    records, results = [], []
    for number, (batch, prediction) in enumerate(zip(data.batches, data.predictions, strict=True), 1):
        truth = {key: values[0].numpy() for key, values in batch.items() if key not in ("index", "size_hw")}
        found = {key: values[0].numpy() for key, values in prediction.items()}
        for n, one in enumerate(annotations(truth, number)):
            crowd = int(truth["crowd"][n]) if "crowd" in truth else 0
            pixels = truth["masks"][n].sum() if "masks" in truth else one["bbox"][2] * one["bbox"][3]
            area = float(truth["areas"][n] if "areas" in truth else pixels)
            records.append({**one, "iscrowd": crowd, "area": area, "id": len(records) + 1})
        for one, score in zip(annotations(found, number), found["score"].tolist(), strict=True):
            results.append({**one, "score": score})
            if kind == "segm":
                del results[-1]["bbox"]  # else pycocotools takes the size of the box
    sizes = [batch["size_hw"][0].tolist() for batch in data.batches]
    images = [{"id": n, "height": height, "width": width} for n, (height, width) in enumerate(sizes, 1)]
    categories = [{"id": n, "name": name} for n, name in enumerate(classes, 1)]
    counted = evaluated({"images": images, "annotations": records, "categories": categories}, results, kind)
    return named(counted, classes, "mask_" if kind == "segm" else "")


def annotations(part: dict[str, np.ndarray], number: int) -> list[dict[str, Any]]:
    records = []
    for n, (left, top, right, bottom) in enumerate(part["boxes"].astype(np.float64).tolist()):
        one = {"image_id": number, "category_id": int(part["labels"][n]) + 1}
        one["bbox"] = [left, top, right - left, bottom - top]
        if "masks" in part:
            one["segmentation"] = coco_masks.encode(np.asfortranarray(part["masks"][n]))
        records.append(one)
    return records


def evaluated(content: dict[str, Any], results: list[dict[str, Any]], kind: str) -> COCOeval:
    truth = COCO()
    truth.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        counted = COCOeval(truth, truth.loadRes(results) if results else COCO(), kind)
        counted.evaluate()
        counted.accumulate()
    return counted


def named(counted: COCOeval, classes: tuple[str, ...], prefix: str) -> dict[str, Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        counted.summarize()
    sizes = [f"{name}_{size}" for name in ("ap", "ar") for size in ("small", "medium", "large")]
    names = ("ap", "ap50", "ap75", *sizes[:3], "ar1", "ar10", "ar100", *sizes[3:])
    scores = {name: None if value < 0 else value for name, value in zip(names, counted.stats.tolist(), strict=True)}
    precision = counted.eval["precision"][:, :, :, 0, -1]
    for name, part in (("ap_by_class", precision), ("ap50_by_class", precision[:1])):
        each = part.mean((0, 1)).tolist()
        scores[name] = {label: None if value < 0 else value for label, value in zip(classes, each, strict=True)}
    scores["classes_measured"] = sum(value is not None for value in scores["ap_by_class"].values())
    return {f"{prefix}{name}": value for name, value in scores.items()}


def by_devkit(data: Set, classes: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    """What `voc_scores` returns, by the development kit's rule written out, one class and one detection at a time."""
    area: dict[str, float | None] = {}
    at_11: dict[str, float | None] = {}
    for label, name in enumerate(classes):
        right, things = devkit_flags(data, label)
        area[name], at_11[name] = (devkit_area(right, things), devkit_11(right, things)) if things else (None, None)
    means = [[value for value in scores.values() if value is not None] for scores in (area, at_11)]
    return {
        "voc_ap": sum(means[0]) / len(means[0]) if means[0] else None,
        "voc_ap_11": sum(means[1]) / len(means[1]) if means[1] else None,
        "voc_ap_by_class": area,
        "voc_ap_11_by_class": at_11,
        "classes_measured": len(means[0]),
    }


def devkit_flags(data: Set, label: int) -> tuple[list[bool], int]:
    """Whether each counted detection is right, the best first, and the number of things."""
    things, rows = {}, []
    for i, (batch, prediction) in enumerate(zip(data.batches, data.predictions, strict=True)):
        flags = batch["difficult"][0].tolist()
        whole = zip(batch["boxes"][0].tolist(), batch["labels"][0].tolist(), flags, strict=True)
        things[i] = [{"box": box, "difficult": flag, "taken": False} for box, k, flag in whole if k == label]
        parts = (prediction[key][0].tolist() for key in ("boxes", "labels", "score"))
        rows += [(score, i, box) for box, k, score in zip(*parts, strict=True) if k == label]
    right = []
    for _, i, box in sorted(rows, key=lambda row: -row[0]):
        best, most = None, -1.0
        for thing in things[i]:
            share = devkit_iou(box, thing["box"])
            if share > most:
                best, most = thing, share
        if best is not None and most >= 0.5:
            if best["difficult"]:
                continue
            right.append(not best["taken"])
            best["taken"] = True
        else:
            right.append(False)
    return right, sum(not thing["difficult"] for one in things.values() for thing in one)


def devkit_iou(one: list[float], other: list[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(sizes) - width * height)


def devkit_points(right: list[bool], things: int) -> list[tuple[Fraction, Fraction]]:
    """Recall and precision after each detection."""
    return [(Fraction(sum(right[:n]), things), Fraction(sum(right[:n]), n)) for n in range(1, len(right) + 1)]


def devkit_11(right: list[bool], things: int) -> float:
    points = devkit_points(right, things)
    total = Fraction(0)
    for tenth in range(11):
        total += max((precision for recall, precision in points if recall >= Fraction(tenth, 10)), default=Fraction(0))
    return float(total / 11)


def devkit_area(right: list[bool], things: int) -> float:
    points = [(Fraction(0), Fraction(0)), *devkit_points(right, things), (Fraction(1), Fraction(0))]
    recall, precision = [p[0] for p in points], [p[1] for p in points]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return float(sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall))))


def worst(scores: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest difference of two results; infinite where one of them has a number and the other none."""
    assert scores.keys() == expected.keys()
    differences = [0.0]
    for name, value in scores.items():
        if isinstance(value, dict):
            differences.append(worst(value, expected[name]))
        elif value is None or expected[name] is None:
            differences.append(0.0 if value is expected[name] else np.inf)
        else:
            differences.append(abs(value - expected[name]))
    return max(differences)
