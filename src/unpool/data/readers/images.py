"""A folder of images without labels, such as clean ones to be denoised: DIR/{train,val,test}/*.png, or DIR/*.png.

Where there is no val folder, a seeded share of the images is set aside for it. Folders of other names are given, as in
{train: Train400, val: BSD68}.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unpool.data.decode import Exif, decode_image, notes, oriented, printable, probe
from unpool.data.listing import Listing, holds_image, walk
from unpool.data.measure import Measure
from unpool.data.readers.splits import (
    SPLIT_NAMES,
    Drawn,
    Split,
    not_found,
    nothing_left,
    require_exif,
    require_root,
    require_share,
    require_split,
)
from unpool.errors import RecipeError
from unpool.types import DataInfo, Fault, Sample

Folders = Mapping[str, str] | None


class Images:
    """Images, grey or in colour, of 8 or 16 bits; 16 are reduced to 8, of which the run's notes tell.

    Args:
        folders: the folder of each split below the root, where they have other names; a split that is not in it is not
            there.
        val_share: part set aside for validation where there is none; with 1, a root without split folders is all val,
            and all test.
        seed: draws that part.
    """

    gives: tuple[str, ...] = ("image",)

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        channels: int = 3,
        exif: Exif = "apply",
        folders: Folders = None,
        val_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_share(val_share)
        require_exif(exif)
        self.root = require_root(root)
        folder, drawn = source(self.root, split, folders, drawn=Drawn(val_share, seed))
        found: Listing = walk(folder)
        files = found.files
        if drawn is not None:
            kept = drawn.keeps(files, split)
            files = [file for file in files if file in kept]
            if not files:
                raise nothing_left(root, split, drawn)
        prefix = folder.relative_to(self.root)
        self._files = [(prefix / file).as_posix() for file in files]
        self._channels = channels
        self._exif: Exif = exif
        self.info = DataInfo()
        self.names: Sequence[str] = [printable(file) for file in self._files]
        self.faults: list[Fault] = found.faults
        self.notes = [f"file names differ in case only: {clash}" for clash in found.clashes]
        self.origin: dict[str, Any] = {
            "root": printable(root),
            "split": split,
            "ignored": found.ignored,
            "drawn": drawn._asdict() if drawn else None,
        }

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        return {"image": decode_image(self.root / self._files[index], self._channels, exif=self._exif)}

    def measure(self, index: int) -> Measure:
        """Size and oddities of one image, from its header."""
        found = probe(self.root / self._files[index])
        told = notes(self._files[index], found, self._channels, exif=self._exif)
        return Measure(oriented(found, self._exif), self._channels * found.height * found.width, told)

    def targets(self, index: int) -> Sample:
        """All of a sample but its image: nothing."""
        return {}


def source(root: Path, split: Split, folders: Folders, *, drawn: Drawn) -> tuple[Path, Drawn | None]:
    """The folder that holds the split, and how the split is drawn from it if it has to be.

    Raises:
        RecipeError: `folders` names something that is no split.
        DataError: there is no image of this split.
    """
    require_split(split)
    unknown = sorted(set(folders or {}) - set(SPLIT_NAMES))
    if unknown:
        raise RecipeError(f"data.folders names {', '.join(unknown)}; it takes train, val and test")
    places = {name: [folders[name]] if name in folders else [] for name in SPLIT_NAMES} if folders else SPLIT_NAMES
    laid_out = {}
    for name, choices in places.items():
        held = [root / choice for choice in choices if (root / choice).is_dir() and holds_image(root / choice)]
        laid_out |= {name: held[0]} if held else {}
    if split in laid_out:
        return laid_out[split], drawn if split == "train" and "val" not in laid_out else None
    if split == "val" and "train" in laid_out:
        return laid_out["train"], drawn
    if not laid_out and not folders and drawn.gives(split) and holds_image(root):
        return root, drawn
    raise not_found(root, split, [f"{choice}/*.png" for choice in places[split]] + ([] if folders else ["*.png"]))
