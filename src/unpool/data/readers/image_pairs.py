"""Noisy and clean images of equal names: DIR/noisy and DIR/clean, or the two inside DIR/{train,val,test}.

Without a val folder, a share of the pairs is drawn for validation, by a seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unpool.data.decode import decode_image, notes
from unpool.data.image_file import Unusable, oriented, printable, probe
from unpool.data.measure import Measure
from unpool.data.readers.images import Folders, source
from unpool.data.readers.pairing import key_of, pair_files
from unpool.data.readers.splits import WHOLE, Drawn, Split, empty_split, require_exif, require_root, require_share
from unpool.errors import DataError
from unpool.types import RGB, DataInfo, Decoding, Exif, Sample


class ImagePairs:
    """Noisy images with the clean image as target, both grey or in colour.

    16 bits are reduced to 8, with a note.

    Args:
        folders: as in `Images`; each holds the folders noisy and clean.
        val_share: part drawn for validation if there is no folder for it; with 1, a root without split folders is all
            val, and all test.
        seed: of that drawing.
    """

    gives: tuple[str, ...] = ("image", "clean")
    whole_options = WHOLE

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        folders: Folders = None,
        val_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_share(val_share)
        require_exif(exif)
        self.root = require_root(root)
        folder, drawn = source(self.root, split, folders, drawn=Drawn(val_share, seed))
        paired = pair_files(self.root, folder / "noisy", folder / "clean", target="clean image")
        if not paired.pairs:
            problem = f"no image in {printable(folder / 'noisy')} has a clean image in {printable(folder / 'clean')}"
            raise DataError(f"{problem} ({len(paired.faults)} files left over); names must be equal up to the suffix")
        self._pairs = paired.pairs
        if drawn is not None:
            kept = drawn.keeps([key_of(pair.image) for pair in paired.pairs], split)
            self._pairs = [pair for pair in paired.pairs if key_of(pair.image) in kept]
            if not self._pairs:
                raise empty_split(root, split, drawn)
        self.decoding = replace(decoding, exif=exif)
        self.info = DataInfo()
        self.names: Sequence[str] = [printable(pair.image) for pair in self._pairs]
        self.faults, self.notes = paired.faults, paired.notes
        self.origin: dict[str, Any] = {
            "root": printable(root),
            "split": split,
            "ignored": paired.ignored,
            "drawn": drawn._asdict() if drawn else None,
        }

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        self._require_one_size(index)
        return {"image": self._decode(self._pairs[index].image), **self.targets(index)}

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"clean": self._decode(self._pairs[index].mask)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one pair, from its headers; raises `Unusable` if the sizes differ."""
        size = self._require_one_size(index)
        sentences = [
            sentence
            for file in (self._pairs[index].image, self._pairs[index].mask)
            for sentence in notes(file, probe(self.root / file), self.decoding)
        ]
        return Measure(size, 2 * self.decoding.channels * size[0] * size[1], tuple(dict.fromkeys(sentences)))

    def _decode(self, file: str) -> Any:
        return decode_image(self.root / file, self.decoding)

    def _require_one_size(self, index: int) -> tuple[int, int]:
        noisy, clean = self._pairs[index]
        size, other = (oriented(probe(self.root / file), self.decoding.exif) for file in (noisy, clean))
        if size != other:
            sizes = f"{other[1]}x{other[0]}, its noisy one {printable(noisy)} {size[1]}x{size[0]} (width x height)"
            raise Unusable(printable(self.root / clean), f"clean image is {sizes}: they must agree")
        return size
