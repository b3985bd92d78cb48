"""Images and their masks, or other images as targets, from two folders, paired by their names."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.classes import nfc
from unpool.data.decode import printable
from unpool.data.listing import Listing, walk
from unpool.data.readers.pairs import Pair
from unpool.errors import DataError
from unpool.types import Fault

_ENDINGS = ("_mask", "-mask", "_label", "-label")


class Paired(NamedTuple):
    """Pairs below the root in the order of the images, and what was left over."""

    pairs: list[Pair]
    faults: list[Fault]
    notes: list[str]
    ignored: int


def key_of(file: str) -> str:
    """What an image and its mask share: the path below their folders without its suffix, composed (NFC)."""
    return nfc(str(PurePosixPath(file).with_suffix("")))


def pair_files(root: Path, images: Path, masks: Path, *, target: str = "mask") -> Paired:
    """Each image with the mask of the same name, or of its name and `_mask` or `_label`.

    What is called a mask here is a `target` in messages.

    Raises:
        DataError: there is no folder of masks, or a mask could belong to two images or an image have two masks.
    """
    if not masks.is_dir():
        raise DataError(f"{printable(masks)} is missing; {target}s stand there under the names of the images")
    image_files, mask_files = walk(images), walk(masks)
    image_at = _by_key(image_files, images, target)
    mask_at = _candidates(mask_files, image_at)
    pairs = []
    faults = [*image_files.faults, *mask_files.faults]
    for key, image in image_at.items():
        matching = mask_at.get(key, [])
        if len(matching) > 1:
            both = " and ".join(printable(file) for file in matching)
            raise DataError(f"{printable(images / image)}: ambiguous pairing, its {target} could be {both}; keep one")
        if matching:
            pairs.append(Pair(_below(root, images / image), _below(root, masks / matching[0])))
        else:
            faults.append(Fault(printable(images / image), f"no {target} of that name in {printable(masks)}"))
    used = {pair.mask for pair in pairs}
    spare = [masks / file for file in mask_files.files if _below(root, masks / file) not in used]
    faults += [
        Fault(printable(path), f"{target} without an image of that name in {printable(images)}") for path in spare
    ]
    notes = [f"file names differ in case only: {clash}" for clash in image_files.clashes]
    return Paired(pairs, faults, notes, image_files.ignored + mask_files.ignored)


def _by_key(images: Listing, folder: Path, target: str) -> dict[str, str]:
    file_of: dict[str, str] = {}
    for file in images.files:
        if (other := file_of.setdefault(key_of(file), file)) != file:
            both = f"{printable(other)} and {printable(file)}"
            raise DataError(f"{printable(folder)}: ambiguous pairing, {both} would share a {target}; rename one")
    return file_of


def _candidates(masks: Listing, image_at: dict[str, str]) -> dict[str, list[str]]:
    """Masks that could belong to each key; one that bears the whole name of an image belongs to that image alone."""
    candidates: dict[str, list[str]] = {}
    for file in masks.files:
        key = key_of(file)
        shorter = [key.removesuffix(end) for end in _ENDINGS if key.endswith(end)]
        for name in [key] if key in image_at else shorter:
            candidates.setdefault(name, []).append(file)
    return candidates


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
