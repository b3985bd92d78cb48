"""Pairs the image files of two folders by name, such as images with masks or noisy with clean images."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.classes import nfc
from unpool.data.image_file import printable
from unpool.data.listing import Listing, walk
from unpool.data.readers.pairs import Pair
from unpool.errors import DataError
from unpool.types import Fault

_ENDINGS = ("_mask", "-mask", "_label", "-label")


class Paired(NamedTuple):
    """The pairs of two folders.

    Attributes:
        pairs: paths below the root, in the order of the images.
        faults: files without a partner, and files that cannot be read, with the reason.
        notes: sentences about file names, for the run's log.
        ignored: number of files that are no images.
    """

    pairs: list[Pair]
    faults: list[Fault]
    notes: list[str]
    ignored: int


def key_of(file: str) -> str:
    """Returns the path without its suffix, in NFC, which is equal for an image and its mask."""
    return nfc(str(PurePosixPath(file).with_suffix("")))


def pair_files(
    root: Path, images: Path, masks: Path, *, target: str = "mask", also: frozenset[str] = frozenset()
) -> Paired:
    """Pairs each image with the mask of the same name, which may end in `_mask`, `-mask`, `_label` or `-label`.

    Args:
        root: returned paths are below it.
        images: folder of the images.
        masks: folder of the masks, or of other targets that are images.
        target: what messages call such a mask.
        also: suffixes of masks that are no images.

    Raises:
        DataError: the folder of masks is missing, a mask fits two images, an image fits two masks, or no two files fit.
    """
    if not masks.is_dir():
        raise DataError(f"{printable(masks)} is missing; put the {target}s there under the names of the images")
    image_files, mask_files = walk(images), walk(masks, also=also)
    image_at = _by_key(image_files, images, target)
    mask_at = _candidates(mask_files, image_at)
    pairs = []
    faults = [*image_files.faults, *mask_files.faults]
    for key, image in image_at.items():
        candidates = mask_at.get(key, [])
        if len(candidates) > 1:
            both = " and ".join(printable(file) for file in candidates)
            raise DataError(f"{printable(images / image)}: ambiguous pairing, its {target} could be {both}; keep one")
        if candidates:
            pairs.append(Pair(_below(root, images / image), _below(root, masks / candidates[0])))
        else:
            faults.append(Fault(printable(images / image), f"no {target} of that name in {printable(masks)}"))
    if not pairs:
        raise DataError(_no_pair(images, masks, image_files, mask_files, target))
    used = {pair.mask for pair in pairs}
    spare = [masks / file for file in mask_files.files if _below(root, masks / file) not in used]
    faults += [
        Fault(printable(path), f"{target} without an image of that name in {printable(images)}") for path in spare
    ]
    notes = [f"file names differ in case only: {clash}" for clash in image_files.clashes]
    return Paired(pairs, faults, notes, image_files.ignored + mask_files.ignored)


def _no_pair(images: Path, masks: Path, image_files: Listing, mask_files: Listing, target: str) -> str:
    if not image_files.files:
        return f"{printable(images)} holds {image_files.kinds_of_others() or 'no image'}; put the images there"
    problem = f"no image in {printable(images)} has a {target} in {printable(masks)}"
    if not mask_files.files:
        return (
            f"{problem}, which holds {mask_files.kinds_of_others() or 'no image'}: put each {target} there as an image"
        )
    left = len(image_files.files) + len(mask_files.files)
    return f"{problem} ({left} files left over); names must be equal up to the suffix"


def _by_key(images: Listing, folder: Path, target: str) -> dict[str, str]:
    image_at: dict[str, str] = {}
    for file in images.files:
        if (other := image_at.setdefault(key_of(file), file)) != file:
            both = f"{printable(other)} and {printable(file)}"
            raise DataError(f"{printable(folder)}: ambiguous pairing, {both} would share a {target}; rename one")
    return image_at


def _candidates(masks: Listing, image_at: dict[str, str]) -> dict[str, list[str]]:
    """Returns the masks that fit each key; a mask with the exact name of an image fits that image only."""
    mask_at: dict[str, list[str]] = {}
    for file in masks.files:
        key = key_of(file)
        shorter = [key.removesuffix(end) for end in _ENDINGS if key.endswith(end)]
        for name in [key] if key in image_at else shorter:
            mask_at.setdefault(name, []).append(file)
    return mask_at


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
