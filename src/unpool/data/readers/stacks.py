"""Stacks of images with stacks of masks: each page is a sample of its own, and validation takes them in blocks."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unpool.data.findings import listing
from unpool.data.image_file import Unusable, printable, probe, recognised
from unpool.data.mask_file import probe_mask, read_stored
from unpool.data.readers.pairing import key_of
from unpool.data.readers.pairs import Pair
from unpool.data.readers.splits import Drawn, Split
from unpool.data.stack import Page, mapped_array
from unpool.errors import DataError
from unpool.types import Fault

_SUFFIXES = (".tif", ".tiff", ".npy")


def split_pages(root: Path, pairs: Sequence[Pair]) -> list[Pair]:
    """One pair a page where image and mask are stacks of as many pages, other pairs as they are.

    A stack is a TIFF of several pages; a mask of shape (N, H, W) in an .npy file; and an image of that shape where its
    mask is a stack of N pages of that size. Files that cannot be read are left to the scan, and so is a mask of several
    pages whose image has one, which it refuses.

    Raises:
        DataError: image and mask differ in their numbers of pages, or each page of a mask marks another class.
    """
    split, faults = [], []
    for pair in pairs:
        image, mask = root / pair.image, root / pair.mask
        in_mask = _count(mask) if mask.suffix.lower() in _SUFFIXES else 1
        in_image = _count_of_image(image, mask, in_mask) if image.suffix.lower() in _SUFFIXES else 1
        if in_image < 2 or not in_mask:
            split.append(pair)
        elif in_image != in_mask:
            problem = f"image is a stack of {in_image} pages, and its mask {printable(mask)} has {in_mask}"
            faults.append(Fault(printable(image), f"{problem}: each page of one needs the same page of the other"))
        elif _is_page_per_class(mask, in_mask):
            problem = f"mask is a stack of {in_mask} pages, of which each pixel is set in one, as if they were classes"
            reason = f"{problem}: join them, as stack.argmax(0) does, or save each page of image and mask as a file"
            faults.append(Fault(printable(mask), reason))
        else:
            split += [pair._replace(page=number) for number in range(1, in_mask + 1)]
    if faults:
        raise DataError(f"{len(faults)} of {len(pairs)} pairs of image and mask cannot be used:\n{listing(faults)}")
    return split


def draw_stacks(root: Path, pairs: Sequence[Pair], drawn: Drawn, *, split: Split) -> tuple[list[Pair], list[str]]:
    """Returns the pairs that belong to `split`, and a note on how stacks were divided.

    Neighbouring pages are nearly the same picture, so that validation takes whole files, one at least; or the last
    pages where all are of one file.
    """
    files = list(dict.fromkeys(key_of(pair.image) for pair in pairs))
    has_stacks = any(pair.page for pair in pairs)
    if len(files) > 1 or not has_stacks:
        copies = drawn.copies([(key_of(pair.image), pair.name, root / pair.image) for pair in pairs])
        kept = drawn.keeps(files, split, least=1 if has_stacks else 0, copies=copies)
        note = "validation is drawn as whole stacks, since neighbouring pages are nearly the same picture"
        chosen = [pair for pair in pairs if key_of(pair.image) in kept]
        return chosen, [note] if has_stacks and drawn.share < 1 else []
    first = len(pairs) - max(int(len(pairs) * drawn.share + 0.5), 1)
    note = (
        f"validation takes the last pages of the one stack, {first + 1} to {len(pairs)}, since neighbouring pages are "
        "nearly the same picture: data.seed does not matter"
    )
    return list(pairs[:first] if split == "train" else pairs[first:]), [note] if first else []


def _count(path: Path) -> int:
    """Pages of a TIFF or an array of shape (N, H, W); 1 where the file is another, 0 where it cannot be read."""
    try:
        with recognised(path, printable(path)) as (form, _):
            if form == "TIFF":
                return probe(path, max_pixels=sys.maxsize).frames
        if form == "NPY" and len(shape := mapped_array(path).shape) == 3 and shape[2] > 1:
            return max(shape[0], 1)
    except (Unusable, OSError, ValueError):
        return 0
    return 1


def _count_of_image(image: Path, mask: Path, in_mask: int) -> int:
    """As `_count`, but an array is a stack of pages only where it cannot be one image with bands."""
    count = _count(image)
    if image.suffix.lower() != ".npy" or count < 2:
        return count
    shape = mapped_array(image).shape
    has_bands_last = mask.suffix.lower() == ".npy" and shape[2] < min(shape[:2])
    if has_bands_last or count != in_mask:
        return 1
    try:
        page = probe_mask(Page(mask, 1))
    except Unusable:
        return 1
    return count if (page.height, page.width) == shape[1:] else 1


def _is_page_per_class(mask: Path, pages: int) -> bool:
    """Whether each pixel is set in exactly one page of several; reads on only while that can be."""
    covered, used = np.zeros((), bool), 0
    try:
        for number in range(1, pages + 1):
            is_set = read_stored(Page(mask, number)).values != 0
            if covered.ndim and (covered.shape != is_set.shape or (covered & is_set).any()):
                return False
            covered, used = covered | is_set, used + bool(is_set.any())
    except (Unusable, OSError):
        return False
    return used > 1 and bool(covered.all())
