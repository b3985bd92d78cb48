"""Images with boxes: what the readers of detection sets share, which make the list.

Boxes are left, top, right and bottom in pixels of the image as decoded, from the outer edge of the first pixel.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from unpool.data.decode import deep_files, notes, readable
from unpool.data.image_file import Unreadable, Unusable, oriented, printable
from unpool.data.measure import Measure, require_annotated_size
from unpool.data.readers.box_checks import Things, settle
from unpool.data.readers.image_files import ImageFiles
from unpool.types import Decoding, Fault, Sample

UNKNOWN = (0, 0)  # the size of an image whose header cannot be read, which the scan says
Sizes = Sequence[tuple[int, int]]


class BoxedImages(ImageFiles):
    """Reads images and their boxes by position; a base for readers.

    Args:
        root: of the set.
        images: paths below it, raw.
        sizes_hw: of the images as their annotations have them, or as `header_sizes` gives them.
        things: what was annotated, as it stands in the files; what cannot be used is left out, see `box_checks`.

    Attributes:
        sizes_hw: of the images, as in the argument.
        kept: the rows of `things` that samples hold, in their order.
    """

    def __init__(
        self, root: Path, images: Sequence[str], sizes_hw: Sizes, things: Things, *, decoding: Decoding
    ) -> None:
        self.root = root
        self.set_files: tuple[Path, ...] = ()
        self.names: Sequence[str] = [printable(image) for image in images]
        self.faults: list[Fault] = []
        settled = settle(things, np.array(sizes_hw, np.int64).reshape(-1, 2))
        self.notes: list[str] = settled.notes
        self.gives: tuple[str, ...] = ("image", *settled.columns)
        self.decoding = decoding
        self.sizes_hw = list(sizes_hw)
        self.kept = settled.kept.tolist()
        self._files = list(images)
        self._starts = np.searchsorted(settled.image, np.arange(len(images) + 1))
        self._columns = {key: torch.from_numpy(values) for key, values in settled.columns.items()}

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {key: column[self.rows(index)].clone() for key, column in self._columns.items()}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        path = self.root / self._files[index]
        header = readable(path, self.decoding)
        if self.sizes_hw[index] != UNKNOWN:
            require_annotated_size(path, header, self.decoding.exif, self.sizes_hw[index])
        size = oriented(header, self.decoding.exif)
        num_bytes = self.decoding.channels * size[0] * size[1]
        num_bytes += sum(column[self.rows(index)].nbytes for column in self._columns.values())
        sentences = notes(self._files[index], header, self.decoding)
        return Measure(size, num_bytes, sentences, deep_files(self.decoding, (path, header)))

    def rows(self, index: int) -> slice:
        """Returns the positions in `kept` of what one sample holds."""
        return slice(int(self._starts[index]), int(self._starts[index + 1]))


def header_sizes(root: Path, images: Sequence[str], decoding: Decoding) -> list[tuple[int, int]]:
    """Returns (height, width) of each image as it will be decoded, where its annotations do not say it.

    A file that cannot be read has the size `UNKNOWN`; the scan meets it again and says why.
    """
    sizes = []
    for image in images:
        try:
            sizes.append(oriented(readable(root / image, decoding), decoding.exif))
        except (OSError, Unreadable, Unusable):
            sizes.append(UNKNOWN)
    return sizes
