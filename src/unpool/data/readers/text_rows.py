"""Rows of an image and a text in CSV files: captions, or what images say.

A first row of words names the columns; without one there are two, the file and the text. Columns are divided by commas,
semicolons or tabs. Where no column is called so, all is a file and a text, as in a table without a first row.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.listing import as_posix, is_below
from unpool.data.readers.csv_rows import numbered_rows
from unpool.data.readers.listed_images import only_one
from unpool.data.readers.split_names import SPLIT_NAMES, lists_of_splits
from unpool.data.readers.splits import Drawn, Split, missing_split, require_apart
from unpool.errors import DataError, quoted, shortened

_FILE = ("file", "filename", "filepath", "image", "imagename", "imagepath", "img", "path")
_TEXT = ("text", "caption", "captions", "label", "word", "words", "string", "transcription", "comment")


class TextRow(NamedTuple):
    """One row.

    Attributes:
        where: file and line.
        image: path below the root.
        text: as it stands there, without spaces around it.
    """

    where: str
    image: str
    text: str


def read_text_rows(root: Path, path: Path, *, folders: Sequence[str]) -> list[TextRow]:
    """Returns the rows of a file.

    Args:
        root: of the set.
        path: of the file.
        folders: below the root, in which images are looked for, with "/" behind them; "" for the root.

    Raises:
        DataError: it is no such table; a row lacks the file or the text, or its file leaves the root.
    """
    name = printable(path.relative_to(root).as_posix())
    numbered = numbered_rows(path, name)
    if not numbered:
        raise DataError(f"{name} is empty; expected rows of file, text")
    columns, has_titles = _columns(name, numbered[0][1])
    count = len(numbered[0][1])
    rows = []
    for number, line in numbered[has_titles:]:
        where = f"{name} line {number}"
        if len(line) != count:
            raise DataError(f"{where}: {len(line)} columns, the first line has {count}: quote texts with a comma")
        file, content = (line[column].strip() for column in columns)
        if not file or not content:
            raise DataError(f"{where}: has no {'text' if file else 'file'}: write it, or take the line out")
        if not is_below(file):
            raise DataError(f"{where}: the file is {quoted(printable(file))}; expected a path below data.root")
        file = as_posix(file)
        held = [f"{folder}{file}" for folder in folders if (root / folder / file).is_file()]
        rows.append(TextRow(where, held[0] if held else f"{folders[0]}{file}", content))
    return rows


def _columns(name: str, line: Sequence[str]) -> tuple[tuple[int, int], bool]:
    """Returns the positions of file and text, and whether the line is their titles."""
    titles = [re.sub(r"[^a-z0-9]", "", title.casefold()) for title in line]
    positions = [[i for i, title in enumerate(titles) if title in words] for words in (_FILE, _TEXT)]
    if all(len(some) == 1 for some in positions):
        return (positions[0][0], positions[1][0]), True
    if len(line) == 2 and not any(positions):
        return (0, 1), False
    held = shortened(", ".join(line))
    raise DataError(f"{name} begins with {quoted(held)}; expected the columns file and text, each once")


class TextTables(NamedTuple):
    """The rows that a split is made of.

    Attributes:
        rows: of each split that was read, by the image; those of `source` are of the split that was asked for.
        source: the split whose rows these are.
        drawn: selects the split in them; None where they are all of it.
        files: that hold the rows.
    """

    rows: Mapping[str, Mapping[str, Sequence[TextRow]]]
    source: str
    drawn: Drawn | None
    files: tuple[Path, ...]


def read_tables(root: Path, split: Split, drawn: Drawn, *, stem: str) -> TextTables:
    """Returns the rows of the split, and of the others that there are.

    A split has its own file: train.csv in the root, or one called as `stem` in the folder train. One called so in the
    root is of train. Without a file for validation, it is drawn from train.

    Raises:
        DataError: there is no file for the split, or there are two, or an image is in two.
    """
    paths = _tables(root, stem)
    if split in paths and (split != "train" or "val" in paths):
        source, drawn_from = split, None
    elif "train" in paths and (split != "test" or (len(paths) == 1 and drawn.gives(split))):
        source, drawn_from = "train", drawn
    else:
        whole = [f"{stem}.csv"] if split == "train" else []
        name = SPLIT_NAMES[split][0]
        raise missing_split(root, split, [*whole, f"{name}.csv", f"{name}/{stem}.csv"])
    rows = {}
    for part, path in paths.items():
        inside = "" if path.parent == root else f"{path.parent.name}/"
        of_part: dict[str, list[TextRow]] = {}
        for row in read_text_rows(root, path, folders=tuple(dict.fromkeys((inside, "", "images/")))):
            of_part.setdefault(row.image, []).append(row)
        rows[part] = of_part
    require_apart(root, {part: list(images) for part, images in rows.items()}, source)
    return TextTables(rows, source, drawn_from, tuple(paths.values()))


def _tables(root: Path, stem: str) -> dict[str, Path]:
    """Returns the file of each split that there is; raises DataError where there are two of one."""
    whole = root / f"{stem}.csv"
    files = lists_of_splits(path for path in sorted(root.glob("*.csv")) if path.is_file() and path != whole)
    for part, folders in SPLIT_NAMES.items():
        inside = [path for folder in folders if (path := root / folder / whole.name).is_file()]
        files.setdefault(part, []).extend(inside)
    if whole.is_file():
        files["train"].append(whole)
    return {part: only_one(root, paths) for part, paths in files.items() if paths}
