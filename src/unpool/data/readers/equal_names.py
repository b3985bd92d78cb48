"""Class folders whose file names say that they are no classes: images and their masks, or pairs, of equal names.

Numbers as file names, such as 0.jpg to 99.jpg in each class, say nothing; there the kinds and sizes of files decide.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from unpool.data.classes import nfc
from unpool.data.image_file import Probe, printable, probe
from unpool.data.readers.pairing import key_of
from unpool.errors import DataError

_LEAST = 3  # files of a folder, below which equal names are chance
_SHARE = 0.9  # of the names, which must be equal
_PROBED = 8  # pairs whose headers are read
_PAIRS = (("noisy", "clean"), ("input", "output"), ("input", "target"), ("lr", "hr"), ("blur", "sharp"))
_COMPANION = re.compile(r"[_-](mask|label|seg|segmentation)([_-]?\d+)?$", re.IGNORECASE)


def require_classes_by_names(root: Path, files: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns sentences on class folders whose files have equal names, where these may be classes all the same.

    Args:
        root: of the class folders, for messages.
        files: paths of each class below its folder, which is root / class.

    Raises:
        DataError: a class folder holds masks beside their images, or the folders certainly hold pairs.
    """
    way_out = f"If these folders are classes all the same, set data.classes=[{','.join(sorted(files))}]"
    for name, inside in files.items():
        if masks := _masks_among(inside):
            shown = f"{len(masks)} masks beside their images, such as {printable(masks[0])}"
            problem = f"class folder {printable(root / name)} holds {shown}, which would be learned as images"
            raise DataError(f"{problem}: move them away, or use folder_unet for images and masks. {way_out}")
    held = {name: inside for name, inside in files.items() if inside}
    if len(held) < 2 or min(map(len, held.values())) < max(_LEAST, _SHARE * max(map(len, held.values()))):
        return []
    keys = {name: {key_of(file): file for file in inside} for name, inside in held.items()}
    if not _are_equal(list(keys.values())):
        return []
    named = " and ".join(f"'{printable(name)}'" for name in list(keys)[:5])
    problem = f"the folders {named} in {printable(root)} hold files of the same names"
    if not _are_pairs(root, keys):
        return [f"{problem}; taken for classes, not for images and their masks or pairs"] if len(keys) == 2 else []
    instead = "use folder_unet for images and their masks (images, masks), or pairs_unet for pairs (noisy, clean)"
    raise DataError(f"{problem}, as images and their masks do, or pairs: {instead}. {way_out}")


def _masks_among(files: Sequence[str]) -> list[str]:
    """Files called as another of the folder with the ending of a mask."""
    named = {file: key for file in files if _COMPANION.search(key := file.rpartition(".")[0])}
    keys = {key_of(file) for file in files} if named else set()
    return [file for file, key in named.items() if nfc(_COMPANION.sub("", key)) in keys]


def _are_equal(keys: Sequence[Mapping[str, str]]) -> bool:
    common = set(keys[0]).intersection(*keys[1:])
    return len(common) >= max(_LEAST, _SHARE * max(map(len, keys)))


def _are_pairs(root: Path, keys: Mapping[str, Mapping[str, str]]) -> bool:
    (first, images), *others = keys.items()
    lowered = {name.casefold() for name in keys}
    common = set(images).intersection(*(files for _, files in others))
    if any(lowered == set(pair) for pair in _PAIRS) or not _are_numbered(common):
        return True
    return all(_differ_as_pairs(root, first, other, images, files) for other, files in others)


def _are_numbered(names: Collection[str]) -> bool:
    """Whether the names are one text and numbers that follow one another."""
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if not all(parts):
        return False
    numbers = sorted(int(part[2]) for part in parts if part)
    return len({part[1] for part in parts if part}) == 1 and numbers[-1] - numbers[0] < len(numbers) / _SHARE


def _differ_as_pairs(root: Path, first: str, other: str, images: Mapping[str, str], files: Mapping[str, str]) -> bool:
    """Whether the kinds of files differ from folder to folder, or sizes vary and agree file by file."""
    shared = [key for key in images if key in files]
    suffixes = [{PurePosixPath(side[key]).suffix.lower() for key in shared} for side in (images, files)]
    if not suffixes[0] & suffixes[1]:
        return True
    some = shared[:: max(1, len(shared) // _PROBED)]
    pairs = [(_probe(root / first / images[key]), _probe(root / other / files[key])) for key in some]
    known = [(one, two) for one, two in pairs if one and two]
    if len(known) < _LEAST:
        return False
    colours = [{pair[i].is_colour for pair in known} for i in (0, 1)]
    if not colours[0] & colours[1]:
        return True
    sizes = [(one.height, one.width) for one, _ in known]
    return len(set(sizes)) >= _LEAST and sizes == [(two.height, two.width) for _, two in known]


def _probe(path: Path) -> Probe | None:
    try:
        return probe(path)
    except DataError:
        return None
