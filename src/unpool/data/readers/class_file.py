"""classes.txt: one class a line, in the order of their ids in masks; a line may end in a colour, `name r g b`."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from unpool.data.classes import nfc
from unpool.data.image_file import printable
from unpool.data.text_file import MOST_CLASSES, read_text
from unpool.errors import DataError, shortened
from unpool.types import IGNORE

Colour = tuple[int, int, int]
_COLOURED = re.compile(r"(.*\S)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)$")


class ClassFile(NamedTuple):
    """Class names by line, and colours by line or none at all."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]


def read_class_file(path: Path) -> ClassFile:
    """Reads the class names of a data set, and their colours.

    Raises:
        DataError: the file is missing or empty, a line before the last name is blank, a name or colour is repeated, or
            only some lines have a colour.
    """
    if not path.is_file():
        raise DataError(f"{printable(path)} is missing; write the name of one class a line, that of id 0 first")
    try:
        text = read_text(path, most=MOST_CLASSES)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: cannot read ({error}); save it as UTF-8 text") from error
    lines = [line.strip() for line in text.rstrip().splitlines()]
    coloured = [_COLOURED.match(line) for line in lines]
    names = tuple(nfc(parts[1] if parts else line) for line, parts in zip(lines, coloured, strict=True))
    colours = tuple((int(parts[2]), int(parts[3]), int(parts[4])) for parts in coloured if parts)
    if fault := _fault(names, colours):
        raise DataError(f"{printable(path)}: {fault}")
    return ClassFile(names, colours)


def _fault(names: tuple[str, ...], colours: tuple[Colour, ...]) -> str | None:
    twice, same = (sorted(one for one, times in Counter(all_).items() if times > 1) for all_ in (names, colours))
    if "" in names:
        blank = names.index("")
        return f"line {blank + 1} is blank, and lines give the ids, from 0: delete it, or name the class of id {blank}"
    if not 2 <= len(names) <= IGNORE:
        return f"{len(names)} classes; masks hold 2 to {IGNORE}, the background being one"
    if twice or same:
        return f"{shortened(', '.join(map(str, twice or same)))} appears twice; every class needs a different one"
    if colours and len(colours) != len(names):
        return f"{len(colours)} of {len(names)} lines have a colour; give all of them one, or none"
    if any(value > 255 for colour in colours for value in colour):
        return "a colour has a value above 255"
    return None
