"""CamVid in the layout of the SegNet tutorial: lists of "image label" lines, 11 classes and a void.

Source: Brostow et al. 2009, "Semantic object classes in video"; class numbers of the SegNet tutorial.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from unpool.data.classes import match
from unpool.data.image_file import printable
from unpool.data.mask_rule import find_reading
from unpool.data.readers.pairs import MaskPairs, MaskValues, Pair
from unpool.data.readers.splits import Split, missing_split, origin_of, require_exif, require_split
from unpool.data.root import require_root
from unpool.data.text_file import read_text
from unpool.errors import DataError
from unpool.types import IGNORE, RGB, DataInfo, Decoding, TargetExif

VOID, VOID_COLOUR = 11, (0, 0, 0)
CLASSES = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
_ADVICE = f"masks of this layout hold 0 to {VOID}, {VOID} being void; take the label files of the SegNet tutorial"


class CamVid(MaskPairs):
    """Street scenes with a mask each; the root is the folder CamVid or its parent.

    Masks hold grey ids, or the colours of `CLASSES` and black for void, whatever their palettes are.

    Args:
        classes: class names in the order of a training run; by default the 11 in the order of `CLASSES`.
    """

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: TargetExif = "apply",
    ) -> None:
        require_split(split)
        require_exif(exif, of_target=True)
        folder = _folder(require_root(root), split)
        expected = tuple(classes) if classes is not None else tuple(CLASSES)
        index = match(tuple(CLASSES), expected, printable(root))
        pairs = _pairs(folder / f"{split}.txt")
        meaning = {**dict(enumerate(index)), VOID: IGNORE}
        masks = [folder / pair.mask for pair in pairs]
        reading = find_reading(masks, (*CLASSES.values(), VOID_COLOUR), meaning, max_pixels=decoding.max_pixels)
        values = MaskValues(meaning, len(CLASSES), reading=reading.reading, advice=_ADVICE)
        super().__init__(folder, pairs, values, decoding=decoding, exif=exif)
        colours = dict(zip(index, CLASSES.values(), strict=True))
        self.set_files = (folder / f"{split}.txt",)
        self.info = DataInfo(
            classes=expected,
            palette=tuple(colours.get(i, VOID_COLOUR) for i in range(len(expected))),
            ignore=VOID,
            mask_rule=reading.reading.rule,
        )
        self.notes = reading.notes
        self.origin = origin_of(root, split)


def _folder(root: Path, split: str) -> Path:
    for folder in (root / "CamVid", root):
        if (folder / f"{split}.txt").is_file():
            return folder
    raise missing_split(root, split, [f"CamVid/{split}.txt", f"{split}.txt"])


def _pairs(listing: Path) -> list[Pair]:
    text = read_text(listing, errors="surrogateescape")
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        where = f"{printable(listing)} line {number}: '{line.strip()}'"
        if len(fields) != 2:
            raise DataError(f"{where} has {len(fields)} fields; expected two, the image and its mask")
        image, mask = (_below(field, where) for field in fields)
        pairs.append(Pair(image, mask))
    if not pairs:
        raise DataError(f"{printable(listing)} names no image; expected lines of an image and its mask")
    return sorted(pairs)


def _below(field: str, where: str) -> str:
    """Returns the path below CamVid's folder; paths in the lists start with CamVid/ or, originally, /SegNet/CamVid/."""
    parts = PurePosixPath(field.removeprefix("/SegNet/")).parts
    if ".." in parts or parts[0] == "/":
        raise DataError(f"{where} leaves the folder of the data set; give paths below it")
    return "/".join(parts[1:] if parts[0] == "CamVid" else parts)
