"""A folder of images without labels, such as clean ones to be denoised: DIR/{train,val,test}/*.png, or DIR/*.png.

Where there is no val folder, a seeded share of the images is set aside for it. Folders of other names are set, as in
{train: Train400, val: BSD68}; what is named must be there, and a share is set aside only where val is not named.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from unpool.data.decode import Exif, decode_image, notes, oriented, printable, probe
from unpool.data.listing import Listing, holds_image, is_below, subfolders, walk
from unpool.data.measure import Measure
from unpool.data.readers.splits import (
    SPLIT_NAMES,
    WHOLE,
    Drawn,
    Split,
    missing_split,
    nothing_left,
    require_exif,
    require_root,
    require_share,
    require_split,
)
from unpool.errors import DataError, RecipeError
from unpool.types import DataInfo, Fault, Sample

Folders = Mapping[str, str] | None
_SHOWN = 8  # folders that a message lists


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
    whole_options = WHOLE

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
        listing: Listing = walk(folder)
        files = listing.files
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
        self.faults: list[Fault] = listing.faults
        self.notes = [f"file names differ in case only: {clash}" for clash in listing.clashes]
        self.origin: dict[str, Any] = {
            "root": printable(root),
            "split": split,
            "ignored": listing.ignored,
            "drawn": drawn._asdict() if drawn else None,
        }

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        return {"image": decode_image(self.root / self._files[index], self._channels, exif=self._exif)}

    def measure(self, index: int) -> Measure:
        """Size and oddities of one image, from its header."""
        header = probe(self.root / self._files[index])
        oddities = notes(self._files[index], header, self._channels, exif=self._exif)
        return Measure(oriented(header, self._exif), self._channels * header.height * header.width, oddities)

    def targets(self, index: int) -> Sample:
        """All of a sample but its image: nothing."""
        return {}


def source(root: Path, split: Split, folders: Folders, *, drawn: Drawn) -> tuple[Path, Drawn | None]:
    """The folder that holds the split, and how the split is drawn from it if it has to be.

    Raises:
        RecipeError: `folders` names something that is no split, or two splits in one folder.
        DataError: there is no image of this split.
    """
    require_split(split)
    if folders:
        return _named(root, split, folders, drawn=drawn)
    laid_out = {}
    for name, choices in SPLIT_NAMES.items():
        held = [root / choice for choice in choices if _has_image(root / choice)]
        laid_out |= {name: held[0]} if held else {}
    if split in laid_out:
        return laid_out[split], drawn if split == "train" and "val" not in laid_out else None
    if split == "val" and "train" in laid_out:
        return laid_out["train"], drawn
    if not laid_out and drawn.gives(split) and holds_image(root):
        return root, drawn
    raise missing_split(root, split, [*(f"{choice}/*.png" for choice in SPLIT_NAMES[split]), "*.png"])


def _named(root: Path, split: Split, folders: Mapping[str, str], *, drawn: Drawn) -> tuple[Path, Drawn | None]:
    """The same where the recipe names the folders: validation is drawn only where it names none for it.

    Training asks for the folder of validation too: what is set aside depends on it.
    """
    _require_folders(root, folders)
    named = f"data.folders names {' and '.join(f'{folder} for {name}' for name, folder in folders.items())}"
    is_drawn = "val" not in folders and split != "test"
    if (source_of := "train" if is_drawn else split) not in folders:
        raise DataError(
            f"{printable(root)}: no {split} split; {printable(named)}: name the folder of {split} there too"
        )
    for name in ("train", "val") if split == "train" else (source_of,):
        if name in folders and not _has_image(root / folders[name]):
            raise _empty(root, name, folders[name])
    return root / folders[source_of], drawn if is_drawn else None


def _has_image(folder: Path) -> bool:
    return folder.is_dir() and holds_image(folder)


def _require_folders(root: Path, folders: Mapping[str, str]) -> None:
    unknown = sorted(set(folders) - set(SPLIT_NAMES))
    if unknown:
        raise RecipeError(f"data.folders names {', '.join(unknown)}; it takes train, val and test")
    for name, folder in folders.items():
        if not is_below(folder):
            problem = f"data.folders names {printable(folder)} for {name}; expected a folder below data.root"
            raise RecipeError(
                f"{problem}, such as {SPLIT_NAMES[name][0]}: set data.root to a folder that holds them all"
            )
    for (name, folder), (other, its) in combinations(folders.items(), 2):
        first, second = ((root / path).resolve() for path in (folder, its))
        if first.is_relative_to(second) or second.is_relative_to(first):
            problem = f"data.folders names {printable(folder)} for {name} and {printable(its)} for {other}"
            raise RecipeError(f"{problem}, which hold the same images; expected one folder for each: correct one")


def _empty(root: Path, name: str, folder: str) -> DataError:
    """The error of a folder that is named and not there."""
    path = root / folder
    above = path.parent
    beside = [one for one in subfolders(above) if one != path.name]
    shown = ", ".join(beside[:_SHOWN]) + (", ..." if len(beside) > _SHOWN else "")
    state = "holds no image" if path.is_dir() else "is no folder" if path.exists() else "does not exist"
    lies = f"beside it: {shown}" if beside else f"no other folder lies in {above}"
    advice = "correct the name" + (", or leave val out to set a share of train aside" if name == "val" else "")
    problem = f"data.folders names {folder} for {name}, but {path} {state} ({lies}): {advice}"
    return DataError(printable(problem))
