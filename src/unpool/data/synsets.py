"""ImageNet's classes: synsets of WordNet, their names, and their order.

A class has the number of its synset among all of the words file, in the order of the ids, from 0: tench, n01440764,
is 0 and toilet tissue, n15075141, is 999. The weights of torchvision and timm number them so, whichever order a file
has.

Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from unpool.data.classes import nfc
from unpool.data.image_file import printable
from unpool.data.text_file import MOST_CLASSES, read_text
from unpool.errors import DataError, quoted, shortened

SYNSET = re.compile(r"n\d{8}", re.ASCII)
_LINE = re.compile(rf"({SYNSET.pattern})\s+(\S.*)", re.ASCII)


class Words(NamedTuple):
    """The synsets of a words file.

    Attributes:
        path: of the file.
        synsets: their ids, in the order of classes.
        names: the first name of each; one that several have, in any case, is followed by the id.
        is_ordered: whether the file has them in this order.
    """

    path: Path
    synsets: tuple[str, ...]
    names: tuple[str, ...]
    is_ordered: bool


def read_words(path: Path) -> Words:
    """Reads a words file: a synset and its names a line, such as `n01440764 tench, Tinca tinca`.

    Raises:
        DataError: a line is no synset with names, or a synset is on two lines.
    """
    names: dict[str, str] = {}
    lines_of: dict[str, int] = {}
    for number, line in numbered_lines(path, most=MOST_CLASSES):
        parts = _LINE.fullmatch(line)
        if parts is None:
            problem = f"{printable(path)}: line {number} is {quoted(shortened(line))}"
            raise DataError(f"{problem}; expected a synset and its names, such as 'n01440764 tench, Tinca tinca'")
        if (synset := parts[1]) in names:
            problem = f"{printable(path)}: line {number} names {synset}, as line {lines_of[synset]} does"
            raise DataError(f"{problem}: leave one of them out")
        names[synset], lines_of[synset] = nfc(parts[2].split(",")[0].strip()), number
    if not names:
        raise DataError(f"{printable(path)} is empty; expected a synset and its names a line")
    times = Counter(name.casefold() for name in names.values())
    synsets = tuple(sorted(names))
    shown = tuple(names[one] if times[names[one].casefold()] == 1 else f"{names[one]} ({one})" for one in synsets)
    return Words(path, synsets, shown, is_ordered=list(names) == list(synsets))


def numbered_lines(path: Path, *, most: int) -> list[tuple[int, str]]:
    """Returns the lines of a file that are not blank, stripped, with their numbers from 1.

    Raises:
        DataError: the file cannot be read, is no text, or has more than `most` bytes.
    """
    try:
        text = read_text(path, most=most)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: cannot read ({error}); save it as UTF-8 text") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
