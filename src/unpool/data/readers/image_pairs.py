"""Noisy and clean images of equal names: DIR/noisy and DIR/clean, or the two inside DIR/{train,val,test}.

Without a val folder, a share of the pairs is drawn for validation, by a seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unpool.data.decode import decode_image, deep_files, notes, readable
from unpool.data.image_file import Unusable, oriented, printable, probe
from unpool.data.measure import Measure
from unpool.data.readers.images import Folders, source
from unpool.data.readers.pairing import key_of, pair_files
from unpool.data.readers.splits import WHOLE, Drawn, Split, Together, empty_split, origin_of, require_exif
from unpool.data.root import require_root
from unpool.data.turns import seen_size, target_turn, turn_of, way_out
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif, Sample, TargetExif


class ImagePairs:
    """Noisy images with the clean image as target, both grey or in colour.

    16 bits are reduced to 8, with a note.

    Args:
        folders: as in `Images`; each holds the folders noisy and clean.
        val_share: part drawn for validation if there is no folder for it; with 1, a root without split folders is all
            val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    gives: tuple[str, ...] = ("image", "clean")
    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = RGB,
        exif: TargetExif = "apply",
        folders: Folders = None,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_exif(exif, of_target=True)
        self.root, self.set_files = require_root(root), ()
        folder, drawn = source(self.root, split, folders, drawn=Drawn.of(val_share, seed, together))
        paired = pair_files(self.root, folder / "noisy", folder / "clean", target="clean image")
        self._pairs = paired.pairs
        if drawn is not None:
            samples = [(key_of(pair.image), printable(pair.image), root / pair.image) for pair in paired.pairs]
            kept = drawn.keeps([key for key, *_ in samples], split, copies=drawn.copies(samples))
            self._pairs = [pair for pair in paired.pairs if key_of(pair.image) in kept]
            if not self._pairs:
                raise empty_split(root, split, drawn)
        self.decoding = replace(decoding, exif="ignore" if exif == "ignore" else "apply")
        self._exif: TargetExif = exif
        self.info = DataInfo()
        self.names: Sequence[str] = [printable(pair.image) for pair in self._pairs]
        self.faults, self.notes = paired.faults, paired.notes
        self.origin = origin_of(root, split, ignored=paired.ignored, drawn=drawn)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        image = decode_image(self.root / self._pairs[index].image, self.decoding)
        return {"image": image, **self.targets(index)}

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the two files of one sample."""
        return self.root / self._pairs[index].image, self.root / self._pairs[index].mask

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        exif: Exif = "ignore" if self._turn(index) == 1 else "apply"
        return {"clean": decode_image(self.root / self._pairs[index].mask, replace(self.decoding, exif=exif))}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one pair, from its headers; raises `Unusable` if sizes or orientations disagree."""
        self._turn(index)
        pair = self._pairs[index]
        headers = [(file, readable(self.root / file, self.decoding)) for file in (pair.image, pair.mask)]
        size = oriented(headers[0][1], self.decoding.exif)
        sentences = [sentence for file, header in headers for sentence in notes(file, header, self.decoding)]
        deep = deep_files(self.decoding, *((self.root / file, header) for file, header in headers))
        return Measure(size, 2 * self.decoding.channels * size[0] * size[1], tuple(dict.fromkeys(sentences)), deep)

    def _turn(self, index: int) -> int:
        """The EXIF orientation by which the clean image is turned; raises `Unusable` if the two files disagree."""
        pair = self._pairs[index]
        most = self.decoding.max_pixels
        noisy, clean = probe(self.root / pair.image, max_pixels=most), probe(self.root / pair.mask, max_pixels=most)
        turn = target_turn(noisy, clean, self._exif)
        size, other = oriented(noisy, self.decoding.exif), seen_size(clean, turn or turn_of(clean))
        if size != other:
            sizes = f"{other[1]}x{other[0]}, its noisy one {printable(pair.image)} {size[1]}x{size[0]} (width x height)"
            raise Unusable(printable(self.root / pair.mask), f"clean image is {sizes}: they must agree").of(
                "data.mask_size"
            )
        if turn is None:
            raise Unusable(printable(self.root / pair.mask), way_out(noisy, clean, target_name="clean image")).of(
                "data.mask_size"
            )
        return turn
