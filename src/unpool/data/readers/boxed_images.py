"""Images with boxes: what the readers of detection sets share, which make the list.

Boxes are left, top, right and bottom in pixels of the image as decoded, from the outer edge of the first pixel.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Unreadable, Unusable, oriented, printable
from unpool.data.measure import Measure, require_annotated_size
from unpool.data.readers.box_checks import Things, settle
from unpool.data.readers.split_names import split_meant
from unpool.data.readers.splits import Drawn, Split, empty_split
from unpool.errors import DataError
from unpool.types import Decoding, Fault, Sample

UNKNOWN = (0, 0)  # the size of an image whose header cannot be read, which the scan says
Sizes = Sequence[tuple[int, int]]


class BoxedImages:
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
        self._images = list(images)
        self._starts = np.searchsorted(settled.image, np.arange(len(images) + 1))
        self._columns = {key: torch.from_numpy(values) for key, values in settled.columns.items()}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        return {"image": decode_image(self.root / self._images[index], self.decoding), **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the image of one sample."""
        return (self.root / self._images[index],)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {key: column[self.rows(index)].clone() for key, column in self._columns.items()}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        path = self.root / self._images[index]
        header = readable(path, self.decoding)
        if self.sizes_hw[index] != UNKNOWN:
            require_annotated_size(path, header, self.decoding.exif, self.sizes_hw[index])
        size = oriented(header, self.decoding.exif)
        num_bytes = self.decoding.channels * size[0] * size[1]
        num_bytes += sum(column[self.rows(index)].nbytes for column in self._columns.values())
        sentences = notes(self._images[index], header, self.decoding)
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


def drawn_images(root: Path, images: Sequence[str], split: Split, drawn: Drawn | None) -> list[str]:
    """Returns those of the images that belong to the split, all of them where nothing is drawn.

    Raises:
        DataError: the drawing leaves no image for the split, or draws from a folder that is called val or test.
    """
    if drawn is None:
        return list(images)
    if drawn.share < 1:
        _require_one_split(root, images)
    copies = drawn.copies([(image, printable(image), root / image) for image in images])
    kept = drawn.keeps(images, split, copies=copies)
    if not kept:
        raise empty_split(root, split, drawn)
    return [image for image in images if image in kept]


def _require_one_split(root: Path, images: Sequence[str]) -> None:
    for folder in sorted({str(PurePosixPath(image).parent) for image in images}):
        for part in PurePosixPath(folder).parts:
            if (meant := split_meant(part)) in ("val", "test"):
                problem = f"{printable(root)}: images that validation would be drawn from lie in a folder"
                problem += f" '{printable(part)}', which is called as one of {meant} is"
                raise DataError(f"{problem}: list them as {meant}, move them away, or rename the folder")


def require_apart(root: Path, listed: Mapping[str, Sequence[str]], split: str) -> None:
    """Raises DataError where another list of images holds some of those of `split`.

    Args:
        root: of the set.
        listed: images by the name of the list that has them, of each split that there is.
        split: the name of the list whose images must be in no other.
    """
    for other, names in listed.items():
        if other != split and (both := sorted(set(names) & set(listed[split]))):
            problem = f"{printable(root)}: {len(both)} images are in both {split} and {other}"
            raise DataError(
                f"{problem}, such as {printable(both[0])}; expected each in one: take them out of the other"
            )


def origin_of(root: Path, split: str, *, ignored: int = 0, drawn: Drawn | None = None) -> dict[str, Any]:
    """Returns where the list of images comes from, for data.json."""
    return {"root": printable(root), "split": split, "ignored": ignored, "drawn": drawn.to_json() if drawn else None}
