"""Rows of boxes in a CSV file: the file of an image, left, top, right and bottom in pixels, and a class.

A first row of words names the columns, in any order and of several spellings; without one there are six, in that order.
Columns are divided by commas, semicolons or tabs. A row without box and class says that its image is a background.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.readers.numbers import FARTHEST, is_position, number_of
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted, shortened

_SIDES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("file", *_SIDES, "class")
_SPELLINGS = {
    "file": ("file", "filename", "filepath", "image", "imagename", "imagepath", "img", "path"),
    "xmin": ("xmin", "x1", "left", "x0"),
    "ymin": ("ymin", "y1", "top", "y0"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "class": ("class", "classname", "label", "labelname", "name", "category"),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
}
_SHOWN = 5  # rows that a message lists


class BoxRow(NamedTuple):
    """One row.

    Attributes:
        where: file and line.
        file: of the image, as it stands there.
        box: left, top, right and bottom; None of a background.
        name: of the class; empty of a background.
        size_hw: of the image, where the columns width and height say it.
    """

    where: str
    file: str
    box: tuple[float, float, float, float] | None
    name: str
    size_hw: tuple[int, int] | None


def read_box_rows(root: Path, path: Path) -> list[BoxRow]:
    """Returns the rows of a file.

    Raises:
        DataError: it is no such table, or rows hold something else; names line, column and value of the first ones.
    """
    name = printable(path.relative_to(root).as_posix())
    numbered = numbered_rows(path, name)
    if not numbered:
        raise DataError(f"{name} is empty; expected rows of {', '.join(COLUMNS)}")
    first = numbered[0][1]
    columns = _columns(name, first)
    read = [
        _row(f"{name} line {number}", line, columns)
        if len(line) == len(first)
        else f"{name} line {number}: {len(line)} columns, the first line has {len(first)}"
        for number, line in (numbered if _is_box(first) else numbered[1:])
    ]
    if faults := [row for row in read if isinstance(row, str)]:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise DataError("\n  ".join([f"{len(faults)} rows of {name} cannot be read:", *faults[:_SHOWN]]) + more)
    return [row for row in read if isinstance(row, BoxRow)]


def numbered_rows(path: Path, name: str) -> list[tuple[int, list[str]]]:
    """Returns the number of the last line and the cells of each row that has any.

    Raises:
        DataError: `name`, the file, is no such table.
    """
    try:
        text = read_text(path)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter_of(text), strict=True)
        return [(reader.line_num, line) for line in reader if any(cell.strip() for cell in line)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{name} is no CSV file in UTF-8: {error}: save it as such") from error


def _delimiter_of(text: str) -> str:
    """Returns what divides the first line most often."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(";\t,", key=first.count)


def _is_box(line: Sequence[str]) -> bool:
    """Whether a first line is a row, not the names of the columns."""
    return len(line) == len(COLUMNS) and any(number_of(cell) is not None for cell in line[1:5])


def _columns(name: str, line: Sequence[str]) -> dict[str, int]:
    """Returns the position of each column, by the first line."""
    if _is_box(line):
        return {column: position for position, column in enumerate(COLUMNS)}
    titles = [re.sub(r"[^a-z0-9]", "", title.casefold()) for title in line]
    columns = {
        column: [position for position, title in enumerate(titles) if title in words]
        for column, words in _SPELLINGS.items()
    }
    lacking = [column for column in COLUMNS if not columns[column]]
    twice = [column for column, positions in columns.items() if len(positions) > 1]
    if lacking or twice:
        held = shortened(", ".join(line))
        what = f"no column {', '.join(lacking)}" if lacking else f"two columns for {', '.join(twice)}"
        raise DataError(f"{name} begins with {quoted(held)}, which has {what}; expected {', '.join(COLUMNS)}")
    return {column: positions[0] for column, positions in columns.items() if positions}


def _row(where: str, line: Sequence[str], columns: Mapping[str, int]) -> BoxRow | str:
    """Returns a row, or what is wrong with it."""
    cells = {column: line[position].strip() for column, position in columns.items()}
    if not cells["file"]:
        return f"{where}: has no file"
    size_hw = None
    if "width" in cells and "height" in cells:
        sides = [number_of(cells[side]) for side in ("height", "width")]
        if not all(side and 0 < side <= FARTHEST for side in sides):
            return f"{where}: the image has {quoted(cells['width'])}x{quoted(cells['height'])} pixels"
        size_hw = (int(sides[0] or 0), int(sides[1] or 0))
    if not any(cells[column] for column in COLUMNS[1:]):
        return BoxRow(where, cells["file"], None, "", size_hw)
    box = [number_of(cells[column]) for column in _SIDES]
    for column, value in zip(_SIDES, box, strict=True):
        if not is_position(value):
            return f"{where}: {column} is {quoted(cells[column])}; expected a finite number of pixels, such as 12.5"
    if not cells["class"]:
        return f"{where}: has no class"
    left, top, right, bottom = (float(value or 0) for value in box)
    return BoxRow(where, cells["file"], (left, top, right, bottom), cells["class"], size_hw)
