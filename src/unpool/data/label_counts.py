"""Counts the classes in the targets of a set while it is scanned, and says which are missing."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from unpool.errors import DataError
from unpool.ops.boxes import COUNTED
from unpool.ops.targets import CLASS_TARGETS
from unpool.types import IGNORE, Sample

_SHOWN = 20
_BRIEF = 4  # classes in a line that has more to say
_UNITS = {"label": "images", "labels": "boxes", "mask": "pixels"}
# largest : smallest class, from which on a hint is logged; pixels of small objects are few in any set
UNBALANCED = {"label": 10, "labels": 100, "mask": 100}
_REMEDIES = {
    "label": "set data.order={weighted: {}} to draw all classes equally often",
    "labels": "add images of rare classes",
    "mask": "set task.class_weights=median to weigh classes by how rare they are",
}
_WITHOUT = {"label": "add images of it, or remove its folder or its name"}  # a class that has none, by target
_PART = 1 << 20
_log = logging.getLogger(__name__)


def count_sample(targets: Sample, num_classes: int) -> dict[str, np.ndarray]:
    """How often each value occurs in each class target of one sample; a mask is counted by pixels.

    Labels of a set without classes are any numbers and are not counted.
    """
    keys = [key for key in CLASS_TARGETS if key in targets and (num_classes or key == "mask")]
    return {key: _histogram(targets[key].reshape(-1).numpy()) for key in keys}


def _histogram(values: np.ndarray) -> np.ndarray:
    length = int(values.max(initial=0)) + 1
    # in parts, since counting makes eight bytes of each value
    parts = (values[first : first + _PART].astype(np.int64) for first in range(0, values.size, _PART))
    return sum((np.bincount(part, minlength=length) for part in parts), np.zeros(length, np.int64))


class LabelCounts:
    """Counts over the samples of a set that are kept, by key of the target."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.samples = 0
        self._counts: dict[str, np.ndarray] = {}
        self._images = np.zeros(len(self.classes), np.int64)  # that have a box of each class
        self._most = np.zeros(len(self.classes), np.int64)  # boxes of each class on one image

    def add(self, counted: Mapping[str, np.ndarray]) -> None:
        """Adds what `count_sample` counted of one sample."""
        self.samples += 1
        for key, counts in counted.items():
            total = self._counts.setdefault(key, np.zeros(max(IGNORE, len(self.classes)) + 1, np.int64))
            total[: len(counts)] += counts
            if key == "labels":
                self._images[: len(counts)] += counts[: len(self.classes)] > 0
                self._most[: len(counts)] = np.maximum(self._most[: len(counts)], counts[: len(self.classes)])

    def by_class(self, key: str) -> np.ndarray:
        """(classes,) how often each class occurs under a key; in a set without classes (1,), of what is labelled."""
        return self._counts[key][: max(len(self.classes), 1)]

    def ignored(self, key: str) -> int:
        """Number of pixels of a mask that no loss counts."""
        return int(self._counts[key][IGNORE]) if key == "mask" else 0

    def missing(self, key: str) -> list[str]:
        """Classes that occur in no target of a key."""
        return [name for name, count in zip(self.classes, self.by_class(key), strict=False) if not count]

    def absent(self, keys: Collection[str]) -> list[str]:
        """Classes that occur in no target of `keys`, in their order; none where these hold no classes."""
        lists = [self.missing(key) for key in self._counts if key in keys]
        return [name for name in self.classes if lists and all(name in missing for missing in lists)]

    def ratio(self, key: str) -> float | None:
        """How often the most frequent class occurs under a key, over the rarest one that occurs; None of one class."""
        counts = self.by_class(key)
        counts = counts[counts > 0]
        return float(counts.max() / counts.min()) if len(counts) > 1 else None

    def start_at_one(self, key: str) -> bool:
        """Whether the first class occurs nowhere and all others do, as where ids are counted from 1."""
        is_seen = self.by_class(key) > 0
        return len(is_seen) > 1 and not is_seen[0] and bool(is_seen[1:].all())

    def to_json(self) -> dict[str, Any]:
        """The counts by key, for data.json; classes by name, "labelled" in a set without; of boxes the images too."""
        return {
            key: {
                "counts": dict(zip(self.classes or ("labelled",), self.by_class(key).tolist(), strict=True)),
                **({"images": dict(zip(self.classes, self._images.tolist(), strict=True))} if key == "labels" else {}),
                **({"ignored": self.ignored(key)} if key == "mask" else {}),
                **({"largest_to_smallest": round(ratio, 2)} if (ratio := self.ratio(key)) else {}),
            }
            for key in self._counts
        }

    def unlabelled(self, key: str) -> str:
        """What is wrong where nothing is labelled under a key; empty where something is, or no sample has the key."""
        if key not in self._counts or self.by_class(key).any():
            return ""
        if (ignored := self.ignored(key)) > 0:
            what = f"all {ignored:,} pixels of {self.samples:,} masks are unlabelled ({IGNORE} after data.ignore and"
            return f"{what} data.mask_values): check these two, and how the masks were exported"
        return f"the {self.samples:,} samples have no {key.removesuffix('s')}"

    def brief(self, keys: Collection[str]) -> str:
        """Such as "2 classes (ants 18, bees 18)"; of masks the share of each; empty in a set without classes."""
        key = next((key for key in CLASS_TARGETS if key in keys and key in self._counts), None)
        if key is None or len(self.classes) < 2:
            return ""
        counts = self.by_class(key)
        total = max(int(counts.sum()), 1)
        largest = (-counts).argsort(kind="stable") if len(counts) > _BRIEF else range(len(counts))
        values = [f"{count / total:.0%}" if key == "mask" else f"{count:,}" for count in counts]
        named = [f"{self.classes[i]} {values[i]}" for i in largest]
        more = f", {len(named) - _BRIEF} more down to {named[-1]}" if len(named) > _BRIEF else ""
        return f"{len(named)} classes ({', '.join(named[:_BRIEF])}{more})"

    def sentence_of_counts(self, key: str, part: str) -> str:
        """Says how often each class occurs under a key; empty where the set has fewer than two classes."""
        if key not in self._counts or len(self.classes) < 2:
            return ""
        counts = self.by_class(key)
        rarest_last = counts.argsort(kind="stable")[::-1] if len(counts) > _SHOWN else range(len(counts))
        named = [f"'{self.classes[i]}' {counts[i]:,}" for i in rarest_last]
        if len(named) > _SHOWN:
            named = [*named[: _SHOWN // 2], f"... {len(named) - _SHOWN} more ...", *named[-_SHOWN // 2 :]]
        ratio = self.ratio(key)
        times = f"; largest : smallest = {ratio:.1f} : 1" if ratio else ""
        return f"{_UNITS[key]} of each class in the {part} set: {', '.join(named)}{times}"

    def sentence_of_missing(self, key: str, part: str) -> str:
        """Says which classes occur nowhere in a part of the set; empty where all occur, or none."""
        missing = self.missing(key) if key in self._counts else []
        if not missing or len(missing) == len(self.classes):
            return ""
        listed = ", ".join(f"'{name}'" for name in missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        count = f"{len(missing)} of {len(self.classes)} classes {'is' if len(missing) == 1 else 'are'}"
        return f"{count} in no {key.removesuffix('s')} of the {part} set: {listed}"

    def sentence_of_crowded(self, part: str) -> str:
        """Says where an image has more boxes of a class than COCO's scores count answers; empty where none has."""
        if self._most.max(initial=0) <= COUNTED:
            return ""
        largest = int(self._most.argmax())
        return (
            f"an image of the {part} set has {self._most[largest]:,} boxes of '{self.classes[largest]}', and COCO's "
            f"scores count the {COUNTED} surest answers of a class in an image, so that no network reaches 1"
        )


def require_labels(counts: LabelCounts, keys: Collection[str]) -> None:
    """Raises DataError where nothing of the training set is labelled; logs the classes that it lacks.

    Args:
        counts: of the training set.
        keys: of the targets that are learned from.
    """
    for key in CLASS_TARGETS:
        if key in keys:
            if problem := counts.unlabelled(key):
                raise DataError(f"nothing is labelled in the training set: {problem}").of("data.empty_class")
            if sentence := counts.sentence_of_missing(key, "training"):
                hint = _ids_from_one(counts, key) or _WITHOUT.get(key, "check how the targets were exported")
                _log.warning("%s; nothing of it can be learned: %s", sentence, hint)


def _ids_from_one(counts: LabelCounts, key: str) -> str:
    """What to do where only the first class is missing; empty where it is not so."""
    if not counts.start_at_one(key):
        return ""
    if key == "labels":
        category = "a category above others, such as the supercategory of an export, has no boxes: delete it if so"
        counted = "numbers in labels of YOLO may have been counted from 1: subtract 1 if so"
        return f"{category}; {counted}; of a data set passed from Python, begin classes= with '__background__' if so"
    problem = "all others occur, so ids may have been counted from 1, each meaning the class before"
    if key != "mask":
        return f"{problem}: subtract 1 if so"
    mapping = ", ".join(f"{i}: {i - 1}" for i in range(1, len(counts.classes))[:_SHOWN])
    more = ", ..." if len(counts.classes) > _SHOWN + 1 else ""
    return f"{problem}: set data.mask_values={{{mapping}{more}}} if so"


def log_balance(counts: LabelCounts, keys: Collection[str], *, is_balanced: bool = False) -> None:
    """Logs how often each class of the training set occurs, and what to do where that is very unequal.

    Args:
        counts: of the training set.
        keys: of the targets that are learned from.
        is_balanced: the recipe draws or weighs by class already.
    """
    for key in CLASS_TARGETS:
        if key in keys and (sentence := counts.sentence_of_counts(key, "training")):
            _log.debug(sentence)
            ratio = counts.ratio(key) or 1
            if ratio >= UNBALANCED[key] and not is_balanced:
                unit = _UNITS[key]
                _log.warning(
                    "the largest class has %.0f times the %s of the smallest, so that a network may never answer the "
                    "latter: %s, and look at the scores of each class",
                    *(ratio, unit, _REMEDIES[key]),
                )


def log_unlabelled(counts: LabelCounts, keys: Collection[str], *, part: str) -> None:
    """Logs a warning where nothing of a set that is measured on is labelled, or lacks classes; `part` is its name.

    And where boxes are more than can be counted.
    """
    for key in CLASS_TARGETS:
        if key in keys and (problem := counts.unlabelled(key)):
            _log.warning("nothing is labelled in the %s set, so that no score can be computed: %s", part, problem)
        elif key in keys and (sentence := counts.sentence_of_missing(key, part)):
            _log.warning(
                "%s; such a class is not measured, its scores are n/a, and means are over the others", sentence
            )
    if "labels" in keys and (sentence := counts.sentence_of_crowded(part)):
        _log.warning("%s: cut such images into parts", sentence)
