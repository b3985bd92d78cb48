"""Reads images with a mask each; shared by the readers of segmentation sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.decode import decode_image, notes
from unpool.data.image_file import Unusable, oriented, printable, probe
from unpool.data.mask_file import decode_mask
from unpool.data.measure import Measure
from unpool.types import IGNORE, Decoding, Fault, Sample


class Pair(NamedTuple):
    """Paths of an image and its mask below the root, not escaped for printing."""

    image: str
    mask: str


class MaskValues:
    """Reads mask files and maps the ids in them to classes.

    Args:
        meaning: class, or IGNORE, by id (by index in the palette, for colour masks).
        num_classes: of the data set, for messages.
        palette: the colours in colour masks.
        advice: what a message about other ids says to do; by default, which options of the reader map them.
    """

    def __init__(
        self,
        meaning: Mapping[int, int],
        num_classes: int,
        *,
        palette: Sequence[tuple[int, int, int]] = (),
        advice: str | None = None,
    ) -> None:
        self._num_classes = num_classes
        self._advice = advice
        self._palette = tuple(palette)
        self._table = np.full(max(meaning, default=0) + 1, -1, np.int16)
        for stored, index in meaning.items():
            self._table[stored] = index

    def read(self, path: Path) -> Tensor:
        """Returns (H, W) uint8 classes and IGNORE; raises `Unusable`, which lists them, if ids are not in `meaning`."""
        stored = decode_mask(path, palette=self._palette).numpy()
        if stored.min() < 0 or stored.max() >= len(self._table):
            raise self._unknown(stored, path)
        meant = self._table[stored]
        if meant.min() < 0:
            raise self._unknown(stored, path)
        return torch.from_numpy(meant.astype(np.uint8))

    def _unknown(self, stored: np.ndarray, path: Path) -> Unusable:
        ids = [int(i) for i in np.unique(stored)]
        bad = [i for i in ids if not 0 <= i < len(self._table) or self._table[i] < 0]
        shown = ", ".join(map(str, ids[:12])) + (", ..." if len(ids) > 12 else "")
        n = self._num_classes
        reason = f"mask has ids {{{shown}}} and the set {n} classes (0 to {n - 1}), so {bad[:12]} mean nothing"
        return Unusable(printable(path), f"{reason}: {self._advice or self._mapping(ids, bad)}")

    def _mapping(self, ids: Sequence[int], bad: Sequence[int]) -> str:
        """Returns which option to set; proposes a mapping for black and white only, as one file seldom has all ids."""
        is_binary = len(self._table) == self._num_classes == 2 and {-1, IGNORE}.isdisjoint(self._table.tolist())
        if is_binary and set(ids) <= {0, 255}:
            proposed = "set data.mask_values={0: 0, 255: 1} if 0 is the first class of classes.txt and 255 the second"
            return f"{proposed}, or data.ignore=255 if 255 is unlabelled"
        ignore = f"set data.ignore={bad[0]} if {bad[0]} is unlabelled, or " if len(bad) == 1 else ""
        remap = "remap with data.mask_values, which gives each id of the set its class by line from 0"
        return f"{ignore}{remap}, or add the classes"


class MaskPairs:
    """Reads a list of pairs of image and mask; the base class of readers that make such lists."""

    gives: tuple[str, ...] = ("image", "mask")

    def __init__(self, root: Path, pairs: Sequence[Pair], values: MaskValues, *, decoding: Decoding) -> None:
        self.root = root
        self._pairs = tuple(pairs)
        self._values = values
        self.decoding = decoding
        self.names: Sequence[str] = [printable(pair.image) for pair in pairs]
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self._pairs[index]
        image = decode_image(self.root / pair.image, self.decoding)
        sample = {"image": image, **self.targets(index)}
        size, mask_size = tuple(image.shape[1:]), tuple(sample["mask"].shape)
        if size != mask_size:
            turn = probe(self.root / pair.image).orientation
            raise self._disagreement(pair, size, mask_size, orientation=turn)
        return sample

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"mask": self._values.read(self.root / self._pairs[index].mask)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one pair, from its headers; raises `Unusable` if the sizes differ."""
        pair = self._pairs[index]
        image, mask = probe(self.root / pair.image), probe(self.root / pair.mask)
        size, mask_size = oriented(image, self.decoding.exif), (mask.height, mask.width)
        if size != mask_size:
            raise self._disagreement(pair, size, mask_size, orientation=image.orientation)
        sentences = notes(pair.image, image, self.decoding)
        return Measure(size, (self.decoding.channels + 1) * size[0] * size[1], sentences)

    def _disagreement(self, pair: Pair, size: Sequence[int], mask_size: Sequence[int], *, orientation: int) -> Unusable:
        drawn, decoded = (f"{width}x{height}" for height, width in (mask_size, size))
        sizes = f"mask is {drawn}, its image {printable(pair.image)} decodes to {decoded} (width x height)"
        advice = ": they must agree; export the mask at the size of the image"
        if orientation != 1:
            advice = f" by EXIF orientation {orientation}: set data.exif=ignore, or annotate the upright image"
        return Unusable(printable(self.root / pair.mask), sizes + advice)
