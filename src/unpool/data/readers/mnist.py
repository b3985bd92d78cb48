"""MNIST, and data sets in the same format: IDX files, gzipped or not.

Source: LeCun, Cortes, Burges, "The MNIST database": a big-endian header (two zeros, type 8, number of axes, their
lengths), then the bytes.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unpool.data.classes import match
from unpool.data.image_file import printable
from unpool.data.measure import Measure
from unpool.data.readers.splits import Split, missing_split, origin_of, require_split
from unpool.data.root import require_root
from unpool.errors import DataError, RecipeError
from unpool.types import GREY, DataInfo, Decoding, Fault, Sample

MOST_BYTES = 4 << 30  # of a file, unpacked
_STEMS = {"train": "train", "val": "t10k", "test": "t10k"}
_FOLDERS = (".", "MNIST/raw", "raw")


class Mnist:
    """Images of digits with a label each; val and test are both t10k.

    Args:
        classes: class names by index; by default "0" to "9".
        decoding: with 1 channel, or with 3, for which the grey channel is repeated.
    """

    gives: tuple[str, ...] = ("image", "label")

    def __init__(
        self, root: Path, split: Split, *, classes: Sequence[str] | None = None, decoding: Decoding = GREY
    ) -> None:
        require_split(split)
        stem = _STEMS[split]
        images = _find(require_root(root), split, f"{stem}-images", "idx3-ubyte")
        self._images = read_idx(images, axes=3)
        path = _find(root, split, f"{stem}-labels", "idx1-ubyte")
        labels = read_idx(path, axes=1)
        self.root, self.set_files = root, (images, path)
        if len(labels) != len(self._images):
            raise DataError(
                f"{printable(path)} holds {len(labels)} labels and its image file {len(self._images)} images"
            )
        digits = tuple(str(digit) for digit in range(10))
        expected = tuple(classes) if classes is not None else digits
        if int(labels.max()) >= len(digits):
            raise DataError(f"{printable(path)} holds label {int(labels.max())}; expected 0 to {len(digits) - 1}").of(
                "data.label_range"
            )
        self._labels = torch.tensor(match(digits, expected, printable(root)))[labels.long()]
        if decoding.channels not in (1, 3) or decoding.bands:
            raise RecipeError("MNIST is grey: set data.channels to 1 or 3, and leave data.bands out")
        self._channels = decoding.channels
        self.info = DataInfo(classes=expected)
        self.names: Sequence[str] = [f"{stem}/{i:05d}" for i in range(len(labels))]
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.origin = origin_of(root, split)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image = self._images[index].expand(self._channels, -1, -1).clone()
        return {"image": image, **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the files of one sample alone: none."""
        return ()

    def measure(self, index: int) -> Measure:
        """Returns the size of one image."""
        return Measure((self._images.shape[1], self._images.shape[2]), self._channels * self._images[index].numel())

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"label": self._labels[index]}


def read_idx(path: Path, *, axes: int) -> Tensor:
    """Reads an IDX file of bytes into a uint8 tensor with `axes` axes.

    Raises:
        DataError: the file cannot be read, is no IDX file of bytes, or is longer or shorter than its header says.
    """
    name = printable(path)
    try:
        data = _read(path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: cannot read ({error})") from error
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes([0, 0, 8, axes]):
        raise DataError(f"{name}: starts with {data[:4].hex()}; expected 000008{axes:02d}, an IDX file of {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise DataError(f"{name}: {len(data) - start} bytes after its header, which says {shape}: copy the file again")
    if not math.prod(shape):
        raise DataError(f"{name}: its header says {shape}, so that it holds nothing")
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy())


def _read(path: Path) -> bytes:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise DataError(f"{printable(path)}: holds more than {MOST_BYTES:,} bytes unpacked: divide the set")
    return data


def _find(root: Path, split: str, stem: str, kind: str) -> Path:
    names = [f"{stem}{dot}{kind}{end}" for dot in "-." for end in ("", ".gz")]
    for folder in _FOLDERS:
        for name in names:
            if (root / folder / name).is_file():
                return root / folder / name
    raise missing_split(root, split, names)
