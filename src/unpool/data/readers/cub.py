"""Caltech-UCSD Birds 200-2011: one bird an image, its species, its box and its 15 parts.

The files are images.txt, image_class_labels.txt, train_test_split.txt, bounding_boxes.txt, classes.txt and
parts/{parts,part_locs}.txt beside the folder images. There is no list for validation, so val is the official test part,
and test is the same. Positions are taken as they stand: boxes from the outer edge of the first pixel, parts from its
centre. A part beside its image is not visible.

Source: Wah et al. 2011, "The Caltech-UCSD Birds-200-2011 Dataset", README of the set.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unpool.data.classes import match
from unpool.data.image_file import printable
from unpool.data.listing import is_below
from unpool.data.measure import Measure
from unpool.data.readers.box_checks import Things
from unpool.data.readers.box_forms import SIZES
from unpool.data.readers.box_layouts import missing_boxes
from unpool.data.readers.boxed_images import BoxedImages, header_sizes
from unpool.data.readers.numbers import is_position, number_of
from unpool.data.readers.splits import Split, origin_of, require_split, with_exif
from unpool.data.root import require_root
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted, shortened
from unpool.ops.sides import flip_pairs
from unpool.types import RGB, DataInfo, Decoding, Exif, Sample

_LABELS, _SPLIT, _BOXES = "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"
_PARTS, _LOCATIONS = "parts/parts.txt", "parts/part_locs.txt"
_FILES = ("images.txt", "classes.txt", _LABELS, _SPLIT, _BOXES, _PARTS, _LOCATIONS)


class Cub(BoxedImages):
    """Birds, each with its species as `label`, one box, and parts as keypoints.

    Args:
        classes: species by index, as in a training run; by default those of classes.txt, in the order of their numbers.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "ignore",
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        if lacking := [name for name in _FILES if not (require_root(root) / name).is_file()]:
            raise missing_boxes(root, split, lacking, "cub")
        paths, species, parts = (_texts(root, name) for name in ("images.txt", "classes.txt", _PARTS))
        is_train = _numbers(root, _SPLIT, paths, 1)[:, 0]
        number_of_class = _numbers(root, _LABELS, paths, 1)[:, 0]
        known = tuple(species.values()) if classes is None else tuple(classes)
        label_of = dict(zip(species, match(list(species.values()), known, "classes.txt"), strict=True))
        _require(root, _LABELS, paths, np.isin(number_of_class, list(species)), "a number of classes.txt")
        _require(root, _SPLIT, paths, np.isin(is_train, (0, 1)), "1 for training or 0 for the test")
        kept = np.flatnonzero(is_train == (split == "train"))
        images = [f"images/{path}" for path in paths.values()]
        if outside := [image for image in images if not is_below(image)]:
            raise DataError(
                f"{printable(root)}: images.txt names {quoted(printable(outside[0]))}, outside of data.root"
            )
        left_top, size = np.split(_numbers(root, _BOXES, paths, 4)[kept], 2, axis=1)
        labels = np.array([label_of[int(number_of_class[row])] for row in kept], np.int64)
        things = Things(
            image=np.arange(len(kept)),
            boxes=np.concatenate([left_top, left_top + size], axis=1).astype(np.float32),
            labels=labels,
            record=lambda row: f"{_BOXES}, image {list(paths)[kept[row]]}",
            more={},
            form=SIZES,
        )
        images = [images[row] for row in kept]
        sizes = header_sizes(root, images, decoding)
        super().__init__(root, images, sizes, things, decoding=decoding)
        self.gives: tuple[str, ...] = ("image", "label", "boxes", "labels", "keypoints", "visible")
        names = tuple(parts.values())
        self.info = DataInfo(classes=known, keypoints=names, flip_pairs=flip_pairs(names))
        self._label = torch.from_numpy(labels)
        self._parts = _locations(root, paths, parts)[kept]
        self.notes += self._hide_beside(sizes)
        self.set_files = tuple(root / name for name in _FILES)
        self.origin = origin_of(root, split)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        parts = torch.from_numpy(self._parts[index].copy())
        keypoints = {"keypoints": parts[:, :2].contiguous(), "visible": parts[:, 2] > 0}
        return {"label": self._label[index], **super().targets(index), **keypoints}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        measure = super().measure(index)
        points = len(self.info.keypoints) * (2 * self._parts.itemsize + 1)
        return measure._replace(num_bytes=measure.num_bytes + points)

    def _hide_beside(self, sizes_hw: Sequence[tuple[int, int]]) -> list[str]:
        """Makes parts beside their image invisible; returns a sentence where there are any."""
        ends = np.array(sizes_hw, np.float32).reshape(-1, 1, 2)[..., ::-1]
        positions, visible = self._parts[..., :2], self._parts[..., 2]
        is_beside = ((positions < -0.5) | (positions >= ends - 0.5)).any(2) & (visible > 0) & (ends > 0).all(2)
        self._parts[is_beside] = 0
        if not is_beside.any():
            return []
        first = self.names[int(is_beside.any(1).argmax())]
        return [f"{int(is_beside.sum())} visible parts lie beside their image, such as of {first}: taken for hidden"]


def _texts(root: Path, name: str) -> dict[int, str]:
    """Returns the text behind the number of each line, in the order of the numbers."""
    texts: dict[int, str] = {}
    for number, line in enumerate(_lines(root, name), start=1):
        key, _, text = line.strip().partition(" ")
        if not (key.isascii() and key.isdigit() and text.strip()) or int(key) in texts:
            problem = f"{printable(root / name)}: line {number} is {quoted(shortened(line))}"
            raise DataError(f"{problem}; expected a number that no other line has, and a name")
        texts[int(key)] = text.strip()
    return dict(sorted(texts.items()))


def _numbers(root: Path, name: str, images: dict[int, str], columns: int) -> NDArray[np.float64]:
    """Returns (images, columns): the numbers behind that of each image, in their order."""
    rows = _table(root, name, 1 + columns)
    of_image = {int(row[0]): row[1:] for row in rows}
    if len(of_image) != len(rows) or set(of_image) != set(images):
        odd = sorted(set(of_image) ^ set(images))
        problem = f"image {odd[0]} is in one of {name} and images.txt only" if odd else f"an image is twice in {name}"
        raise DataError(f"{printable(root)}: {problem}; expected each image of images.txt on one line")
    return np.array([of_image[number] for number in images], np.float64).reshape(-1, columns)


def _locations(root: Path, images: dict[int, str], parts: dict[int, str]) -> NDArray[np.float32]:
    """Returns (images, parts, 3): x, y, and 1 where a part is visible; zeros where it is not."""
    image_row, part_row = ({number: row for row, number in enumerate(numbers)} for numbers in (images, parts))
    located = np.zeros((len(image_row), len(part_row), 3), np.float32)
    for image, part, x, y, visible in _table(root, _LOCATIONS, 5):
        if int(image) not in image_row or int(part) not in part_row or visible not in (0, 1):
            problem = f"{printable(root / _LOCATIONS)}: image {image:g}, part {part:g}, visible {visible:g}"
            raise DataError(f"{problem}; expected an image of images.txt, a part of {_PARTS}, and 0 or 1")
        located[image_row[int(image)], part_row[int(part)]] = (x, y, 1) if visible else 0
    return located


def _table(root: Path, name: str, columns: int) -> list[list[float]]:
    rows = []
    for number, line in enumerate(_lines(root, name), start=1):
        values = [number_of(word) for word in line.split()]
        if len(values) != columns or not all(map(is_position, values)):
            problem = f"{printable(root / name)}: line {number} is {quoted(shortened(line))}"
            raise DataError(f"{problem}; expected {columns} finite numbers")
        rows.append([float(value or 0) for value in values])
    return rows


def _lines(root: Path, name: str) -> list[str]:
    try:
        return [line for line in read_text(root / name).splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(root / name)}: cannot read ({error}); save it as UTF-8 text") from error


def _require(root: Path, name: str, images: dict[int, str], holds: NDArray[np.bool_], expected: str) -> None:
    if not holds.all():
        number = list(images)[int(holds.argmin())]
        raise DataError(f"{printable(root / name)}: image {number} has another number than expected: {expected}")
