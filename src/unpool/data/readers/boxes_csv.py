"""Boxes in CSV files: one file of all, one for each split (train.csv, val.csv), or one for each class.

The files lie in DIR or in DIR/annotations; `csv_rows` says what a row holds. Corners are taken as they stand there,
from the outer edge of the first pixel. Images are named from DIR, from DIR/images, or from the folder in one of these
that is called as the CSV file, as in images/face/image_0007.jpg of face.csv. Without a file for validation, a share of
the images is drawn for it, by a seed. Classes are the names of the training split, in the order of the alphabet.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from unpool.data.classes import case_clashes, match, nfc
from unpool.data.image_file import printable
from unpool.data.listing import as_posix, is_below
from unpool.data.readers.box_checks import Things
from unpool.data.readers.box_layouts import missing_boxes
from unpool.data.readers.boxed_images import UNKNOWN, BoxedImages, header_sizes
from unpool.data.readers.csv_rows import BoxRow, read_box_rows
from unpool.data.readers.listed_images import missing_faults
from unpool.data.readers.split_names import SPLIT_NAMES, lists_of_splits
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    drawn_images,
    origin_of,
    require_apart,
    require_split,
    with_exif,
)
from unpool.data.root import require_root
from unpool.errors import DataError, quoted
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif

Rows = Mapping[str, Sequence[BoxRow]]  # by image, a path below the root


class BoxesCsv(BoxedImages):
    """Images and the boxes that rows of CSV files have of them.

    Args:
        classes: class names by index, as in a training run; rows with other names are refused.
        val_share: part drawn for validation if there is no file for it; with 1, a root without files of splits is all
            val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        parts, drawn = _find_tables(require_root(root), split, Drawn.of(val_share, seed, together))
        rows = {part: _by_image(root, files) for part, files in parts.items()}
        source = split if split in rows else "train"
        require_apart(root, {part: list(images) for part, images in rows.items()}, source)
        images = drawn_images(root, sorted(rows[source]), split, drawn)
        missing = {image: rows[source][image][0].where for image in images if not (root / image).is_file()}
        images = [image for image in images if image not in missing]
        names = {nfc(row.name) for some in rows.get("train", rows[source]).values() for row in some if row.box}
        known = tuple(sorted(names) if classes is None else classes)
        sizes = _sizes(root, images, rows[source], decoding)
        where = ", ".join(printable(path.name) for path in parts[source])
        things = _things(images, rows[source], known, where)
        super().__init__(root, images, sizes, things, decoding=decoding)
        self.info = DataInfo(classes=known)
        self.notes += case_clashes(known)
        self.faults = missing_faults(missing)
        self.set_files = tuple(path for files in parts.values() for path in files)
        self.origin = origin_of(root, split, drawn=drawn)


def _find_tables(root: Path, split: Split, drawn: Drawn) -> tuple[dict[str, list[Path]], Drawn | None]:
    """Returns the CSV files of each split that is read, and the drawing that selects `split` in those of train."""
    folders = (root, root / "annotations")
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.csv")) if path.is_file()]
    parts = lists_of_splits(files)
    if split in parts and (split != "train" or "val" in parts):
        return {part: parts[part] for part in ("train", "val", split) if part in parts}, None
    if split != "test" and "train" in parts:
        return {"train": parts["train"]}, drawn
    if not parts and files and drawn.gives(split):
        return {"train": files}, drawn
    looked_for = [f"{SPLIT_NAMES[split][0]}.csv", f"annotations/{SPLIT_NAMES[split][0]}.csv"]
    raise missing_boxes(root, split, looked_for + (["*.csv"] if drawn.gives(split) else []), "boxes_csv")


def _by_image(root: Path, files: Sequence[Path]) -> Rows:
    """Returns the rows of all files by the image that they name; one that does not exist has the name in its row."""
    rows: dict[str, list[BoxRow]] = {}
    paths: dict[tuple[str, str], str] = {}
    for path in files:
        for row in read_box_rows(root, path):
            key = (path.stem, row.file)
            if key not in paths:
                paths[key] = _find_image(root, path.stem, row)
            rows.setdefault(paths[key], []).append(row)
    return rows


def _find_image(root: Path, stem: str, row: BoxRow) -> str:
    """Returns the path of the image of a row; raises DataError where two have its name, or it leaves the root."""
    if not is_below(row.file):
        raise DataError(f"{row.where}: the file is {quoted(printable(row.file))}; expected a path below data.root")
    below = ("", "images/", f"{stem}/", f"images/{stem}/")
    file = as_posix(row.file)
    held = [f"{folder}{file}" for folder in below if (root / folder / file).is_file()]
    if len(held) > 1:
        both = " and ".join(map(printable, held))
        raise DataError(f"{row.where} names {printable(row.file)}, which is {both}: write the path from data.root")
    return held[0] if held else file


def _sizes(root: Path, images: Sequence[str], rows: Rows, decoding: Decoding) -> list[tuple[int, int]]:
    """Returns (height, width) of the images by their rows, else as they will be decoded."""
    sizes = {}
    for image in images:
        stated = {row.size_hw: row for row in rows[image] if row.size_hw}
        if len(stated) > 1:
            (first, second), both = list(stated.values())[:2], list(stated)
            problem = f"{first.where} has {both[0][1]}x{both[0][0]} pixels for {printable(image)}"
            raise DataError(f"{problem} and {second.where} has {both[1][1]}x{both[1][0]}: correct one")
        sizes[image] = next(iter(stated), UNKNOWN)
    unknown = [image for image, size in sizes.items() if size == UNKNOWN]
    sizes |= dict(zip(unknown, header_sizes(root, unknown, decoding), strict=True))
    return list(sizes.values())


def _things(images: Sequence[str], rows: Rows, classes: Sequence[str], where: str) -> Things:
    boxed = [(index, row) for index, image in enumerate(images) for row in rows[image] if row.box is not None]
    names = sorted({nfc(row.name) for _, row in boxed})
    label_of = dict(zip(names, match(names, classes, where), strict=True))
    return Things(
        image=np.array([index for index, _ in boxed], np.int64),
        boxes=np.array([row.box for _, row in boxed], np.float32).reshape(-1, 4),
        labels=np.array([label_of[nfc(row.name)] for _, row in boxed], np.int64),
        record=lambda row: boxed[row][1].where,
        more={},
    )
