"""Names of the folders and lists of splits, also misspelt ones, and folders beside them that no split uses."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.listing import holds_image, subfolders
from unpool.errors import DataError

SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_ALSO = dict.fromkeys(("dev", "eval", "evaluate", "evaluation", "holdout", "heldout", "validate", "validating"), "val")
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names} | _ALSO
_CONTENT = re.compile(r"[^a-z]*(labels?|annotations?|boxes|bbox(es)?)$")  # behind the split in the name of a table
_ADDED = re.compile(r"(images?|imgs?|pictures|photos|data|dataset|set|split|folder)$")


def has_image(folder: Path) -> bool:
    """Whether it is a folder with an image at any depth."""
    return folder.is_dir() and holds_image(folder)


def split_meant(name: str) -> str | None:
    """The split that a folder's name means, also misspelt, in another case or as in train2017; None for any other name.

    >>> [split_meant(name) for name in ("Train", "vaild", "test_images", "val2017", "brain", "trains")]
    ['train', 'val', 'test', 'val', None, None]
    """
    letters = re.sub(r"[^a-z]", "", name.casefold())
    letters = letters if letters in _SPLIT_OF else _ADDED.sub("", letters)
    for known, split in _SPLIT_OF.items():
        is_turned = len(known) > 3 and sorted(letters) == sorted(known)
        is_near = len(known) > 6 and difflib.SequenceMatcher(None, letters, known).ratio() >= 0.9
        if letters == known or (letters[:1] == known[0] and (is_turned or is_near)):
            return split
    return None


def lists_of_splits(files: Iterable[Path]) -> dict[str, list[Path]]:
    """The files of each split, such as lists of images, by their names in any case; those of other names are left out.

    Raises:
        DataError: a name means a split and is not one of those known, as train_labels does.
    """
    split_of = {name: split for split, names in SPLIT_NAMES.items() for name in names}
    lists: dict[str, list[Path]] = {}
    for path in files:
        name = path.stem.casefold()
        if split := split_of.get(name):
            lists.setdefault(split, []).append(path)
        elif split := split_meant(_CONTENT.sub("", name)):
            problem = f"{printable(path)} seems to list the images of {split} and would not be used"
            raise DataError(f"{problem}: rename it to {split}{path.suffix}, or move it away")
    return lists


def misnamed(root: Path, split: str) -> list[str]:
    """Folders with images whose names mean a split and are not those that readers know."""
    known = SPLIT_NAMES[split]
    return [
        name for name in subfolders(root) if name not in known and split_meant(name) == split and has_image(root / name)
    ]


def not_used(root: Path, used: Iterable[str]) -> list[str]:
    """A sentence on each folder of the root that holds an image and is none of those that splits use."""
    names = [name for name in subfolders(root) if name not in set(used) and has_image(root / name)]
    return [f"folder '{printable(name)}' holds images and is of no split: not used" for name in names]
