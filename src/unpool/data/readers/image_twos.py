"""What readers of image pairs share: two images of one size, one behind the other, and targets of the first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Unusable, printable
from unpool.data.measure import Measure
from unpool.data.pair_channels import channels_of_one
from unpool.data.readers.splits import Drawn, Split, empty_split, missing_split, origin_of, require_split
from unpool.errors import DataError
from unpool.types import DataInfo, Decoding, Fault, Sample

Size = tuple[int, int]


class Two(NamedTuple):
    """The files of one sample, as paths below the root.

    Attributes:
        first: the left image, or the first frame.
        second: the right image, or the next frame.
        targets: files with what is known of the pair.
    """

    first: str
    second: str
    targets: tuple[str, ...]


class ImageTwos(ABC):
    """A base for readers of pairs; a subclass says which files belong together, and reads the targets.

    Args:
        root: of the set.
        twos: those of the split.
        decoding: how images are read, with the channels of both.
        what: name of the set, for messages.
    """

    gives: tuple[str, ...]
    target_bytes: int  # of a pixel, in all targets

    def __init__(self, root: Path, twos: Sequence[Two], *, decoding: Decoding, what: str) -> None:
        self._channels = channels_of_one(decoding, what)
        self.root, self._twos = root, list(twos)
        self.decoding = replace(decoding, exif="ignore")
        self.info = DataInfo()
        self.names: Sequence[str] = [printable(two.first) for two in twos]
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.set_files: tuple[Path, ...] = ()
        self.origin: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._twos)

    def __getitem__(self, index: int) -> Sample:
        two = self._twos[index]
        images = [decode_image(self.root / file, self._of_one) for file in (two.first, two.second)]
        return {"image": torch.cat(images), **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the files of one sample."""
        two = self._twos[index]
        return tuple(self.root / file for file in (two.first, two.second, *two.targets))

    @abstractmethod
    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""

    @abstractmethod
    def _target_size(self, path: Path) -> Size:
        """The size of a file of targets, from its header."""

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one pair, from its headers; raises `Unusable` where sizes differ."""
        two, decoding = self._twos[index], self._of_one
        headers = [(file, readable(self.root / file, decoding)) for file in (two.first, two.second)]
        (_, first), (_, second) = headers
        for file, header in headers:
            if header.orientation != 1:
                raise Unusable(
                    printable(self.root / file),
                    f"has the EXIF orientation {header.orientation}, and pairs and their targets are read as they are "
                    "stored: take the tag out, or turn image and targets",
                )
        size = (first.height, first.width)
        self._require(two.second, (second.height, second.width), size, two.first)
        for file in two.targets:
            self._require(file, self._target_size(self.root / file), size, two.first)
        sentences = [sentence for file, header in headers for sentence in notes(file, header, decoding)]
        deep = deep_files(decoding, *((self.root / file, header) for file, header in headers))
        num_bytes = size[0] * size[1] * (2 * self._channels + self.target_bytes)
        return Measure(size, num_bytes, tuple(dict.fromkeys(sentences)), deep)

    def _require(self, file: str, size: Size, expected: Size, first: str) -> None:
        if size != expected:
            other = f"{printable(first)} is {expected[1]}x{expected[0]}"
            raise Unusable(printable(self.root / file), f"is {size[1]}x{size[0]} pixels, and {other}: they must agree")

    @property
    def _of_one(self) -> Decoding:
        return replace(self.decoding, channels=self._channels)


class Twos(NamedTuple):
    """The pairs of one split, and what was wrong with others."""

    of_split: list[Two]
    faults: list[Fault]
    origin: dict[str, Any]


def complete(root: Path, twos: Sequence[Two]) -> tuple[list[Two], list[Fault]]:
    """Those of which all files are there; of the others, which file is missing."""
    kept, faults = [], []
    for two in twos:
        absent = [file for file in (two.first, two.second, *two.targets) if not (root / file).is_file()]
        if absent:
            missing = ", ".join(printable(file) for file in absent)
            faults.append(Fault(printable(root / two.first), f"its pair lacks {missing}: restore the file"))
        else:
            kept.append(two)
    return kept, faults


def drawn_twos(root: Path, twos: Sequence[Two], split: Split, drawn: Drawn, *, layout: str) -> Twos:
    """The pairs of a split that is drawn.

    Args:
        root: of the set.
        twos: all that are named.
        split: which one.
        drawn: the drawing.
        layout: the first file that is looked for, for the message.

    Raises:
        DataError: no pair is whole, or none is left for the split.
    """
    require_split(split)
    kept, faults = complete(root, twos)
    if not twos or not drawn.gives(split):
        raise missing_split(root, split, [layout])
    if not kept:
        listed = "; ".join(f"{fault.path}: {fault.reason}" for fault in faults[:3])
        raise DataError(f"{printable(root)}: none of {len(twos)} pairs is whole. {listed}")
    samples = [(two.first, printable(two.first), root / two.first) for two in kept]
    chosen = drawn.keeps([two.first for two in kept], split, copies=drawn.copies(samples))
    if not chosen:
        raise empty_split(root, split, drawn)
    return Twos([two for two in kept if two.first in chosen], faults, origin_of(root, split, drawn=drawn))
