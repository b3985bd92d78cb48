"""Looks for one picture in both splits, and for one in two classes, before a run trains on them."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.copies import find_copies, joined
from unpool.data.duplicates import equal_files
from unpool.data.image_file import printable
from unpool.data.likeness import thumbnail
from unpool.data.measure import MeasuringReader
from unpool.data.plain import DatasetReader, is_random
from unpool.data.plain.positions import origin
from unpool.data.readers.splits import Together
from unpool.data.store import ScanResult
from unpool.errors import DataError
from unpool.types import ENROLLED, Reader, Samples

REFUSED_SHARE = 0.05
"""Share of the validation images above which copies of training images are refused.

CIFAR-10 has 3.3 % and is used all the same; CIFAR-100 has 10 %, and copies change the order of published networks there
(Barz and Denzler 2020, arXiv:1902.00423).
"""
_LISTED = 5
_SMALL_GROUP, _LARGEST_GROUP = 10, 0.05  # images, and share of all, that a drawn split keeps together
_NOT_LOOKED = "training images are drawn anew in each reading, so that copies of pictures are not looked for"
_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """One split: its reader, and what the scan of it gave."""

    reader: Reader
    result: ScanResult


class CopiesOfSet(NamedTuple):
    """The copies in training and validation together, by positions in training, then in validation.

    Attributes:
        names: of all samples, those of training first.
        num_train: how many of them are of training.
        pairs: (first, second, how the second repeats the first), the lower position first.
        labels: class of each sample; empty where there are none.
        is_near: whether mirrored, scaled and re-encoded copies were looked for, beside equal files.
        is_drawn: whether training images differ from one reading to the next, so that a copy need not look like one.
        num_enrolled: how many of validation are searched among, and may be of training.
    """

    names: list[str]
    num_train: int
    pairs: list[tuple[int, int, str]]
    labels: list[int]
    is_near: bool
    is_drawn: bool = False
    num_enrolled: int = 0

    @property
    def across(self) -> list[tuple[int, int, str]]:
        """The pairs of a training and a validation image."""
        return [pair for pair in self.pairs if pair[0] < self.num_train <= pair[1]]

    @property
    def share(self) -> float:
        """Of the validation images, enrolled ones left out, those that are copies of a training image."""
        return len({second for _, second, _ in self.across}) / max(self.num_measured, 1)

    @property
    def num_measured(self) -> int:
        return len(self.names) - self.num_train - self.num_enrolled

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Names of the samples that a drawing must keep together."""
        groups = joined([(first, second) for first, second, _ in self.pairs])
        return tuple(tuple(self.names[index] for index in group) for group in groups)

    def to_json(self) -> dict[str, Any]:
        """All pairs across the splits, and those of two classes in training."""
        looked_for = "near and equal" if self.is_near else "equal files"
        return {
            "looked_for": f"the same samples of one data set; {_NOT_LOOKED}" if self.is_drawn else looked_for,
            "share_of_val": round(self.share, 6),
            "across": [{"train": self.names[a], "val": self.names[b], "how": how} for a, b, how in self.across],
            "two_classes": [[self.names[a], self.names[b]] for a, b in self.two_classes()],
        }

    def two_classes(self) -> list[tuple[int, int]]:
        """Pairs of training images that are copies and have different labels."""
        if not self.labels:
            return []
        inside = [(a, b) for a, b, how in self.pairs if b < self.num_train]
        return [(a, b) for a, b in inside if self.labels[a] != self.labels[b]]


def look_for_copies(train: Part, val: Part) -> CopiesOfSet:
    """Finds equal files, and where all images were decoded, mirrored, scaled and re-encoded copies too."""
    parts = (train, val)
    names = [name for part in parts for name in part.result.samples.names]
    num_train = len(train.result.samples)
    likeness = [part.result.likeness for part in parts if part.result.likeness is not None]
    is_near = len(likeness) == len(parts)
    pairs = _near(np.concatenate(likeness), _Both([p.result.samples for p in parts])) if is_near else _equal(parts)
    enrolled = enrolled_images(val.result.samples, first=num_train)
    pairs = [pair for pair in _with_same_samples(parts, pairs) if pair[1] not in enrolled]
    labels, both = [], set(train.result.samples.gives) & set(val.result.samples.gives)
    if pairs and (key := next((key for key in ("label", "identity") if key in both), None)):
        labels = [int(s.targets(i)[key]) for s in (p.result.samples for p in parts) for i in range(len(s))]
    return CopiesOfSet(names, num_train, pairs, labels, is_near, is_random(train.reader), len(enrolled))


def kept_together(recorded: Mapping[str, Any]) -> Together:
    """Groups of images that the drawing of a run's splits keeps together, as its data.json has them."""
    return (recorded["train"].get("drawn") or {}).get("together", ())


def require_small_groups(copies: CopiesOfSet) -> None:
    """Raises DataError where so many images are alike that a split cannot keep them together."""
    largest = max(copies.groups(), key=len, default=())
    if len(largest) > max(_SMALL_GROUP, _LARGEST_GROUP * len(copies.names)):
        raise DataError(
            f"{len(largest)} of {len(copies.names)} images are nearly one picture, such as {', '.join(largest[:3])}, "
            "and lie in both parts of the drawn split: give a val folder; where they are different pictures, as those "
            "of one scene by a camera that stands still, set data.allow_duplicates=true"
        ).of("data.constant")


def judge_copies(copies: CopiesOfSet, *, allowed: bool) -> None:
    """Warns of copies; raises DataError where too many are in both splits and not `allowed`."""
    if copies.is_drawn:
        _log.info("%s: only the same samples of one data set are found in both splits", _NOT_LOOKED)
    elif not copies.is_near:
        _log.info("images were not decoded (data.verify=headers): of copies in both splits only equal files are found")
    across, classes = copies.across, copies.two_classes()
    if classes:
        listed = _listed(f"{copies.names[a]} and {copies.names[b]}" for a, b in classes)
        _log.warning("%d pairs of training images are one picture in two classes: %s", len(classes), listed)
    if not across:
        return
    count, total = len({second for _, second, _ in across}), copies.num_measured
    listed = _listed(f"{copies.names[b]} is {copies.names[a]} ({how})" for a, b, how in across)
    problem = f"{count} of {total} validation images ({count / total:.1%}) are training images too: {listed}"
    if copies.share > REFUSED_SHARE and not allowed:
        raise DataError(
            f"{problem}. More than {REFUSED_SHARE:.0%} is refused, since scores would show what was learned by heart: "
            "remove one of each pair, or set data.allow_duplicates=true"
        ).of("data.leak")
    _log.warning("%s", problem)


def _listed(texts: Iterable[str]) -> str:
    every = list(texts)
    more = f" and {len(every) - _LISTED} more, all in data.json" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more


def enrolled_images(val: Samples, *, first: int = 0) -> set[int]:
    """Positions of enrolled validation images, which may be those of training: others are searched among them."""
    if "role" not in val.gives:
        return set()
    return {first + index for index in range(len(val)) if int(val.targets(index)["role"]) == ENROLLED}


class _Both:
    """The images of several sets, one after another."""

    def __init__(self, sets: Sequence[Samples]) -> None:
        self._where = [(samples, index) for samples in sets for index in range(len(samples))]

    def __len__(self) -> int:
        return len(self._where)

    def thumbnail(self, index: int) -> NDArray[np.uint8]:
        samples, position = self._where[index]
        return thumbnail(samples[position]["image"])


def _near(hashes: NDArray[np.uint64], images: _Both) -> list[tuple[int, int, str]]:
    copies = find_copies(hashes, images.thumbnail)
    if not copies.is_complete:
        _log.warning("so many images look alike that not all of them were compared: there may be more copies")
    how = ("the same picture", "mirrored")
    pairs, mirrored = copies.pairs.tolist(), copies.is_mirrored.tolist()
    return [(first, second, how[flag]) for (first, second), flag in zip(pairs, mirrored, strict=True)]


def _with_same_samples(parts: tuple[Part, Part], pairs: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """The pairs, and those of samples of one data set at one position, whatever transforms make of them."""
    train, val = (_origins(part) for part in parts)
    first = {where: index for index, where in reversed(list(enumerate(train)))}
    known = {(a, b) for a, b, _ in pairs}
    same = [(first[where], len(train) + index) for index, where in enumerate(val) if where in first]
    return sorted([*pairs, *((a, b, "the same sample") for a, b in same if (a, b) not in known)])


def _origins(part: Part) -> list[tuple[int, int]]:
    """The object and position of each sample of a plain data set; empty for other readers."""
    reader = part.reader
    if not isinstance(reader, DatasetReader):
        return []
    index_of = {name: index for index, name in enumerate(reader.names)}
    return [origin(reader.dataset, index_of[name]) for name in part.result.samples.names]


def _equal(parts: Sequence[Part]) -> list[tuple[int, int, str]]:
    """Pairs of samples whose image files are equal; of stacks those of the same page."""
    files = [file for part in parts for file in _image_files(part)]
    known = [(index, *file) for index, file in enumerate(files) if file is not None]
    pairs = []
    for group in equal_files([path for _, path, _ in known]):
        by_page: dict[str, list[int]] = {}
        for position in group:
            index, _, page = known[position]
            by_page.setdefault(page, []).append(index)
        pairs += [(alike[0], other, "the same file") for alike in by_page.values() for other in alike[1:]]
    return sorted(pairs)


def _image_files(part: Part) -> list[Any]:
    """(path of the image, rest of the name, such as a page) of each sample; None where there is no such file."""
    reader = part.reader
    if not isinstance(reader, MeasuringReader) or reader.root is None:
        return [None] * len(part.result.samples)
    index_of = {name: index for index, name in enumerate(reader.names)}
    files = [(name, reader.files(index_of[name])) for name in part.result.samples.names]
    named = partial(_page, root=reader.root)
    return [(paths[0], named(name, paths[0])) if paths else None for name, paths in files]


def _page(name: str, path: Any, *, root: Any) -> str:
    return name.removeprefix(printable(path.relative_to(root).as_posix()))
