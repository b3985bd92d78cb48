"""Reads images with a mask each; shared by the readers of segmentation sets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Probe, Unusable, oriented, printable
from unpool.data.mask_file import probe_mask, read_stored
from unpool.data.mask_ids import Reading
from unpool.data.measure import Measure
from unpool.data.orientation import turned
from unpool.data.stack import File, Page
from unpool.data.turns import seen_size, target_turn, turn_of, way_out
from unpool.types import IGNORE, MOST_PIXELS, Decoding, Fault, Sample, TargetExif

_FEW = 8  # ids more than classes, above which a mask seems to be blended


class Pair(NamedTuple):
    """Paths of an image and its mask below the root, not escaped for printing.

    Attributes:
        page: of both files, counted from 1; 0 where they are no stacks.
    """

    image: str
    mask: str
    page: int = 0

    @property
    def name(self) -> str:
        """Of the sample: the path of the image, and the page of a stack."""
        return printable(Page(Path(self.image), self.page) if self.page else self.image)

    def files(self, root: Path) -> tuple[File, File]:
        """Image and mask, each of which may be a page."""
        image, mask = root / self.image, root / self.mask
        return (Page(image, self.page), Page(mask, self.page)) if self.page else (image, mask)


class MaskValues:
    """Reads mask files and maps the ids in them to classes.

    Args:
        meaning: class, or IGNORE, by id (by line of the colour, for masks read by colours).
        num_classes: of the data set, for messages.
        reading: how the ids of the set are read from its files.
        advice: what a message about other ids says to do; by default, which options of the reader map them.
    """

    def __init__(
        self,
        meaning: Mapping[int, int],
        num_classes: int,
        *,
        reading: Reading = Reading(),  # noqa: B008 - a tuple
        advice: str | None = None,
    ) -> None:
        self._num_classes = num_classes
        self._advice = advice
        self._reading = reading
        self._table = np.full(max(meaning, default=0) + 1, -1, np.int16)
        for stored, index in meaning.items():
            self._table[stored] = index

    def read(self, path: File, *, turn: int = 1, max_pixels: int = MOST_PIXELS) -> Tensor:
        """Returns (H, W) uint8 classes and IGNORE, turned by an EXIF orientation.

        Raises:
            Unreadable: the file is damaged or cannot be read.
            Unusable: it is no mask, or some ids, which the message lists, are not in `meaning`.
        """
        stored = self._reading.ids(read_stored(path, max_pixels=max_pixels), printable(path))
        if stored.min() < 0 or stored.max() >= len(self._table):
            raise self._unknown(stored, path)
        meant = self._table[stored]
        if meant.min() < 0:
            raise self._unknown(stored, path)
        return torch.from_numpy(np.ascontiguousarray(turned(meant.astype(np.uint8), turn)))

    def _unknown(self, stored: np.ndarray, path: File) -> Unusable:
        ids = [int(i) for i in np.unique(stored)]
        bad = [i for i in ids if not 0 <= i < len(self._table) or self._table[i] < 0]
        shown = ", ".join(map(str, ids[:12])) + (", ..." if len(ids) > 12 else "")
        n = self._num_classes
        greys = " (the greys of its palette)" if self._reading.rule == "greys" else ""
        reason = f"mask has ids {{{shown}}}{greys} and the set {n} classes (0 to {n - 1}), so {bad[:12]} mean nothing"
        cause = "data.palette" if greys else "data.label_range" if len(ids) <= n + _FEW else "data.soft_mask"
        return Unusable(printable(path), f"{reason}: {self._advice or self._mapping(ids, bad)}").of(cause)

    def _mapping(self, ids: Sequence[int], bad: Sequence[int]) -> str:
        """Returns which option to set; proposes a mapping for black and white only, as one file seldom has all ids."""
        is_binary = len(self._table) == self._num_classes == 2 and {-1, IGNORE}.isdisjoint(self._table.tolist())
        if is_binary and set(ids) <= {0, 255}:
            proposed = "set data.mask_values={0: 0, 255: 1} if 0 is the first class of classes.txt and 255 the second"
            return f"{proposed}, or data.ignore=255 if 255 is unlabelled"
        n = self._num_classes
        if bad == [n] and 0 not in ids and self._table[:n].tolist() == list(range(n)):
            shifted = ", ".join(f"{i}: {i - 1}" for i in range(1, n + 1))
            unlabelled = f"data.ignore={n} if {n} is unlabelled"
            return f"if ids are counted from 1, set data.mask_values={{{shifted}}}; or {unlabelled}"
        ignore = f"set data.ignore={bad[0]} if {bad[0]} is unlabelled, or " if len(bad) == 1 else ""
        remap = "remap with data.mask_values, which gives each id of the set its class by line from 0"
        return f"{ignore}{remap}, or add the classes"


class MaskPairs:
    """Reads a list of pairs of image and mask; the base class of readers that make such lists."""

    gives: tuple[str, ...] = ("image", "mask")

    def __init__(
        self, root: Path, pairs: Sequence[Pair], values: MaskValues, *, decoding: Decoding, exif: TargetExif
    ) -> None:
        self.root = root
        self.set_files: tuple[Path, ...] = ()
        self._pairs = tuple(pairs)
        self._values = values
        self.decoding = replace(decoding, exif="ignore" if exif == "ignore" else "apply")
        self._exif: TargetExif = exif
        self.names: Sequence[str] = [pair.name for pair in pairs]
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self._pairs[index]
        file, _ = pair.files(self.root)
        image = decode_image(file, self.decoding)
        sample = {"image": image, **self.targets(index)}
        size, mask_size = tuple(image.shape[1:]), tuple(sample["mask"].shape)
        if size != mask_size:
            raise self._disagreement(pair, size, mask_size, orientation=readable(file, self.decoding).orientation)
        return sample

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns image and mask of one sample, of a page the whole stacks."""
        return self.root / self._pairs[index].image, self.root / self._pairs[index].mask

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        pair = self._pairs[index]
        turn = 1 if self._exif != "apply" else self._turn(pair, *self._headers(pair))
        return {"mask": self._values.read(pair.files(self.root)[1], turn=turn, max_pixels=self.decoding.max_pixels)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one pair, from its headers; raises `Unusable` if sizes or orientations disagree."""
        pair = self._pairs[index]
        image, mask = self._headers(pair)
        self._turn(pair, image, mask)
        size = oriented(image, self.decoding.exif)
        sentences = notes(pair.image, image, self.decoding)
        deep = deep_files(self.decoding, (pair.files(self.root)[0], image))
        return Measure(size, (self.decoding.channels + 1) * size[0] * size[1], sentences, deep)

    def _headers(self, pair: Pair) -> tuple[Probe, Probe]:
        image, mask = pair.files(self.root)
        return readable(image, self.decoding), probe_mask(mask, max_pixels=self.decoding.max_pixels)

    def _turn(self, pair: Pair, image: Probe, mask: Probe) -> int:
        """The EXIF orientation by which the mask is turned; raises `Unusable` if sizes or orientations disagree."""
        turn = target_turn(image, mask, self._exif)
        size, mask_size = oriented(image, self.decoding.exif), seen_size(mask, turn or turn_of(mask))
        if size != mask_size:
            raise self._disagreement(pair, size, mask_size, orientation=max(turn_of(image), turn_of(mask)))
        if turn is None:
            raise Unusable(printable(pair.files(self.root)[1]), way_out(image, mask, target_name="mask")).of(
                "data.mask_size"
            )
        return turn

    def _disagreement(self, pair: Pair, size: Sequence[int], mask_size: Sequence[int], *, orientation: int) -> Unusable:
        drawn, decoded = (f"{width}x{height}" for height, width in (mask_size, size))
        sizes = f"mask is {drawn}, its image {pair.name} decodes to {decoded} (width x height)"
        advice = ": they must agree; export the mask at the size of the image"
        if orientation != 1:
            advice = f" by EXIF orientation {orientation}: set data.exif=ignore, or annotate the upright image"
        return Unusable(printable(pair.files(self.root)[1]), sizes + advice).of("data.mask_size")
