"""Names of the folders of splits, also misspelt ones, and folders beside them that no split uses."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.listing import holds_image, subfolders

SPLIT_NAMES: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_ALSO = dict.fromkeys(("dev", "eval", "evaluate", "evaluation", "holdout", "heldout", "validate", "validating"), "val")
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names} | _ALSO
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
