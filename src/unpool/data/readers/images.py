"""A folder of images without labels, such as clean ones to be denoised: DIR/{train,val,test}/*.png, or DIR/*.png.

Without a val folder, a share of the images is drawn for validation, by a seed. The option `folders` names other
folders, as in {train: Train400, val: BSD68}; these must exist, and a share is drawn only if it has no val.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.listing import is_below, subfolders, walk
from unpool.data.readers.image_files import ImageFiles
from unpool.data.readers.layouts import look_at_photographs, note_on_classes
from unpool.data.readers.split_names import SPLIT_NAMES, has_image, not_used
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    empty_split,
    missing_split,
    origin_of,
    require_named_split,
    require_split,
    with_exif,
)
from unpool.data.root import require_root
from unpool.errors import DataError, RecipeError
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault

Folders = Mapping[str, str] | None
_SHOWN = 8  # folders that a message lists


class Images(ImageFiles):
    """Images without targets, grey or in colour; 16 bits are reduced to 8, with a note.

    Args:
        folders: folder below the root by split, if they have other names; the set lacks a split that is not in it.
        val_share: part drawn for validation if there is no folder for it; with 1, a root without split folders is all
            val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    gives: tuple[str, ...] = ("image",)
    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        folders: Folders = None,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        self.decoding = with_exif(decoding, exif)
        self.root, self.set_files = require_root(root), ()
        folder, drawn = source(self.root, split, folders, drawn=Drawn.of(val_share, seed, together))
        if not folders and (look := look_at_photographs(folder)):
            raise DataError(f"{look}. If all of them are photographs all the same, name their folder in data.folders")
        listing, prefix = walk(folder), folder.relative_to(self.root)
        files = listing.files
        if drawn is not None:
            copies = drawn.copies([(file, printable((prefix / file).as_posix()), folder / file) for file in files])
            kept = drawn.keeps(files, split, copies=copies)
            files = [file for file in files if file in kept]
            if not files:
                raise empty_split(root, split, drawn)
        self._files = [(prefix / file).as_posix() for file in files]
        self.info = DataInfo()
        self.names: Sequence[str] = [printable(file) for file in self._files]
        self.faults: list[Fault] = listing.faults
        self.notes = [f"file names differ in case only: {clash}" for clash in listing.clashes]
        if split == "train":
            unused = [] if folders or folder == self.root else not_used(self.root, _laid_out(self.root).values())
            self.notes += note_on_classes(folder) + unused
        self.origin = origin_of(root, split, ignored=listing.ignored, drawn=drawn)


def source(root: Path, split: Split, folders: Folders, *, drawn: Drawn) -> tuple[Path, Drawn | None]:
    """Returns the folder with the split, and the drawing that selects the split there, if any.

    Raises:
        RecipeError: `folders` has a key that is no split, a path outside of the root, or one folder for two splits.
        DataError: the split has no image.
    """
    require_split(split)
    if folders:
        return _named(root, split, folders, drawn=drawn)
    laid_out = {name: root / folder for name, folder in _laid_out(root).items()}
    if split != "test" and "val" not in laid_out and "train" in laid_out:
        require_named_split(root, "val")
        return laid_out["train"], drawn
    if split in laid_out:
        return laid_out[split], None
    if not laid_out and drawn.gives(split) and has_image(root):
        return root, drawn
    raise missing_split(root, split, [*(f"{choice}/*.png" for choice in SPLIT_NAMES[split]), "*.png"])


def _laid_out(root: Path) -> dict[str, str]:
    """The folder of each split that has images."""
    held = {name: [one for one in choices if has_image(root / one)] for name, choices in SPLIT_NAMES.items()}
    return {name: folders[0] for name, folders in held.items() if folders}


def _named(root: Path, split: Split, folders: Mapping[str, str], *, drawn: Drawn) -> tuple[Path, Drawn | None]:
    """Returns what `source` returns, if the recipe names the folders: val is drawn only if they have none for it.

    A val folder that is named must hold images for the train split too, as it keeps part of train from being drawn.
    """
    _require_folders(root, folders)
    listed = f"data.folders names {' and '.join(f'{folder} for {name}' for name, folder in folders.items())}"
    is_drawn = "val" not in folders and split != "test"
    if (needed := "train" if is_drawn else split) not in folders:
        raise DataError(f"{printable(root)}: no {split} split; {printable(listed)}: name the one of {split} there too")
    for name in ("train", "val") if split == "train" else (needed,):
        if name in folders and not has_image(root / folders[name]):
            raise _no_images(root, name, folders[name])
    return root / folders[needed], drawn if is_drawn else None


def _require_folders(root: Path, folders: Mapping[str, str]) -> None:
    unknown = sorted(set(folders) - set(SPLIT_NAMES))
    if unknown:
        raise RecipeError(f"data.folders names {', '.join(unknown)}; it takes train, val and test")
    for name, folder in folders.items():
        if not is_below(folder):
            problem = f"data.folders names {printable(folder)} for {name}; expected a folder below data.root"
            raise RecipeError(f"{problem}, such as {SPLIT_NAMES[name][0]}: set data.root to a folder above all of them")
    for (name, folder), (other, other_folder) in combinations(folders.items(), 2):
        first, second = ((root / path).resolve() for path in (folder, other_folder))
        if first.is_relative_to(second) or second.is_relative_to(first):
            problem = f"data.folders names {printable(folder)} for {name} and {printable(other_folder)} for {other}"
            raise RecipeError(f"{problem}, which hold the same images; expected separate folders: correct one")


def _no_images(root: Path, name: str, folder: str) -> DataError:
    """Returns the error for a folder of `data.folders` that holds no image, with the folders beside it."""
    path = root / folder
    above = path.parent
    beside = [one for one in subfolders(above) if one != path.name]
    shown = ", ".join(beside[:_SHOWN]) + (", ..." if len(beside) > _SHOWN else "")
    state = "holds no image" if path.is_dir() else "is no folder" if path.exists() else "does not exist"
    neighbours = f"beside it: {shown}" if beside else f"no other folder lies in {above}"
    advice = "correct the name" + (", or leave val out to set a share of train aside" if name == "val" else "")
    problem = f"data.folders names {folder} for {name}, but {path} {state} ({neighbours})"
    return DataError(printable(f"{problem}: {advice}"))
