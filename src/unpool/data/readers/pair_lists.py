"""Pairs of images for verification: what a list of them must keep, LFW's lists, lists in CSV, and drawn ones."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.duplicates import equal_files
from unpool.data.image_file import printable
from unpool.data.listing import is_below
from unpool.data.readers.csv_rows import numbered_rows
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted, shortened
from unpool.types import CALIBRATING

_SHOWN = 5
_TRUE, _FALSE = ("1", "true", "yes", "same"), ("0", "false", "no", "different")
COLUMNS = ("first", "second", "same")


class Face(NamedTuple):
    """An image of a person: its path below the root, and who it shows."""

    file: str
    person: str


class Pair(NamedTuple):
    """Two images: `where` they are listed, and in which fold, from 0 on, or CALIBRATING."""

    first: Face
    second: Face
    fold: int
    where: str = ""

    @property
    def is_same(self) -> bool:
        return self.first.person == self.second.person


def read_lfw_pairs(root: Path, name: str, folder: str) -> list[Pair]:
    """The pairs of a list as LFW has them: folds and pairs of each kind, then a person and two numbers, or two people.

    Args:
        root: of the set.
        name: of the list.
        folder: of the images, below the root; "" for the root.

    Raises:
        DataError: a line has another form, or there are more or fewer pairs than the first line says.
    """
    lines = numbered_lines(root / name)
    number, head = next(lines, (1, []))
    if len(head) not in (1, 2) or not all(is_number(word) and int(word) for word in head):
        raise DataError(f"{name} line {number} is {_text(head)}; expected folds and pairs of each kind, such as 10 300")
    folds, each = (1, int(head[0])) if len(head) == 1 else (int(head[0]), int(head[1]))
    pairs = []
    for count, (number, words) in enumerate(lines):
        where, fold = f"{name} line {number}", count // max(2 * each, 1)
        ends = _lfw_ends(words, where)
        first, second = (Face(lfw_file(folder, person, image), person) for person, image in ends)
        pair = Pair(first, second, fold, where)
        if pair.is_same != (count % max(2 * each, 1) < each) and fold < folds:
            kinds = ("one person", "two people") if not pair.is_same else ("two people", "one person")
            raise DataError(
                f"{where}: expected a pair of {kinds[0]}, as {each} of each kind follow, and it is of {kinds[1]}"
            )
        pairs.append(pair)
    if len(pairs) != 2 * folds * each:
        raise DataError(f"{name} has {len(pairs)} pairs; its first line says {folds} x {each} of each kind")
    return pairs


def _lfw_ends(words: Sequence[str], where: str) -> list[tuple[str, int]]:
    """Person and number of both images of a line."""
    named = [(words[0], words[1]), (words[0], words[2])] if len(words) == 3 else []
    named = [(words[0], words[1]), (words[2], words[3])] if len(words) == 4 else named
    if not named or not all(is_number(number) and is_folder(person) for person, number in named):
        raise DataError(f"{where} is {_text(words)}; expected NAME 1 4, or NAME 1 OTHER 2")
    if len(named) == 2 and len(words) == 4 and words[0] == words[2]:
        raise DataError(f"{where} names {words[0]} twice; expected NAME and two numbers for a pair of one person")
    return [(person, int(number)) for person, number in named]


def is_number(word: str) -> bool:
    """Whether a word is made of the digits 0 to 9: "²" is a digit too, and no number.

    Example:
        >>> is_number("12"), is_number("²"), is_number("-1")
        (True, False, False)
    """
    return word.isascii() and word.isdigit()


def is_folder(name: str) -> bool:
    """Whether a name is that of one folder, so that a person has one name only.

    Example:
        >>> is_folder("Ann_A"), is_folder("./Ann_A"), is_folder(".")
        (True, False, False)
    """
    return is_below(name) and PurePosixPath(name).parts == (name,)


def lfw_file(folder: str, person: str, number: int) -> str:
    """Path of an image below the root.

    Example:
        >>> lfw_file("lfw", "Abdullah_Gul", 3)
        'lfw/Abdullah_Gul/Abdullah_Gul_0003.jpg'
    """
    return f"{f'{folder}/' if folder else ''}{person}/{person}_{number:04d}.jpg"


def numbered_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and words of each line that has any; words are divided by tabs or blanks.

    Raises:
        DataError: there is no such file, or it is no text.
    """
    if not path.is_file():
        raise DataError(f"no list {printable(path)}: set the option that names it, or restore the file")
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)} is no text in UTF-8: {error}: save it as such") from error
    yield from ((number, words) for number, line in enumerate(text.splitlines(), 1) if (words := line.split()))


def read_csv_pairs(root: Path, name: str) -> list[Pair]:
    """The pairs of a CSV file with the columns first, second, same and, where there are several, fold.

    Files are paths below the root, in a folder for each person; `same` (1 or 0) must agree with the folders.

    Raises:
        DataError: a column is missing, or a row holds something else; names the line.
    """
    path = root / name
    if not path.is_file():
        raise DataError(f"no list {printable(path)}: set data.pairs to a CSV file of {', '.join(COLUMNS)}")
    rows = numbered_rows(path, name)
    head = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    if not set(COLUMNS) <= set(head) or len(set(head)) < len(head):
        raise DataError(
            f"{name} begins with {_text(head)}; expected the columns {', '.join(COLUMNS)}, and fold if any, each once"
        )
    cells = []
    for number, row in rows[1:]:
        where = f"{name} line {number}"
        if len(row) != len(head):
            raise DataError(f"{where}: {len(row)} columns, the first line has {len(head)}: give each of them")
        cells.append((where, dict(zip(head, map(str.strip, row), strict=True))))
        if "fold" in head and not cells[-1][1]["fold"]:
            raise DataError(f"{where}: has no fold: give each pair one, or take the column out")
    names = sorted({one.get("fold", "") for _, one in cells}, key=lambda fold: (len(fold), fold))
    return [_csv_pair(where, one, names.index(one.get("fold", ""))) for where, one in cells]


def _csv_pair(where: str, cells: dict[str, str], fold: int) -> Pair:
    ends = [cells[key] for key in COLUMNS[:2]]
    for file in ends:
        if not is_below(file) or "/" not in file or PurePosixPath(file).as_posix() != file:
            raise DataError(f"{where}: {quoted(file)} is no file in the folder of a person, such as ann/1.jpg")
    said = cells["same"].lower()
    if said not in (*_TRUE, *_FALSE):
        raise DataError(f"{where}: same is {quoted(said)}; expected 1 or 0")
    first, second = (Face(file, file.partition("/")[0]) for file in ends)  # as in `people_in`
    pair = Pair(first, second, fold, where)
    if pair.is_same != (said in _TRUE):
        raise DataError(f"{where}: same is {said}, and the folders say otherwise: {ends[0]} and {ends[1]}")
    return pair


def check_pairs(root: Path, pairs: Sequence[Pair], name: str) -> None:
    """Raises DataError where pairs would be measured on what they should not know of one another.

    Raises:
        DataError: there are no pairs; an image does not exist; a pair is of one image, or of two equal files; it is
            listed twice, in whatever order and under whatever names of equal files; or one person stands in several
            folds, so that no threshold is chosen on other people.
    """
    if not pairs:
        raise DataError(f"{name} lists no pair, so that nothing would be measured: add pairs")
    files = sorted({face.file for pair in pairs for face in (pair.first, pair.second)})
    if missing := [file for file in files if not (root / file).is_file()]:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DataError(f"{name} names {len(missing)} missing files: {', '.join(missing[:_SHOWN])}{more}")
    copies = {files[i]: number for number, group in enumerate(equal_files([root / f for f in files])) for i in group}
    seen: dict[frozenset[str | int], str] = {}
    for pair in pairs:
        ends = (pair.first.file, pair.second.file)
        if ends[0] == ends[1]:
            raise DataError(f"{pair.where} pairs {ends[0]} with itself: take it out")
        content = frozenset(copies.get(file, file) for file in ends)
        if len(content) == 1:
            raise DataError(f"{pair.where} pairs {ends[0]} and {ends[1]}, which are equal files: take it out")
        if (before := seen.setdefault(content, pair.where)) != pair.where:
            raise DataError(f"{pair.where} repeats the pair of {before}, in whatever order: list each pair once")
    _require_folds_apart(pairs)


def _require_folds_apart(pairs: Sequence[Pair]) -> None:
    folds: dict[str, tuple[int, str]] = {}
    for pair in pairs:
        for face in (pair.first, pair.second):
            fold, where = folds.setdefault(face.person, (pair.fold, pair.where))
            if fold != pair.fold:
                raise DataError(
                    f"{pair.where} has {face.person}, who stands in another fold at {where}: a threshold must be "
                    "chosen on other people, so keep each person in one fold"
                )


def draw_pairs(people: dict[str, Sequence[str]]) -> list[Pair]:
    """Calibrating pairs: all of one person, and as many of two, taken evenly from all of two people.

    Args:
        people: files of each person.

    Example:
        >>> drawn = draw_pairs({"ann": ["ann/1", "ann/2"], "bob": ["bob/1", "bob/2"]})
        >>> [(pair.first.file, pair.second.file) for pair in drawn]
        [('ann/1', 'ann/2'), ('bob/1', 'bob/2'), ('ann/1', 'bob/1'), ('ann/2', 'bob/2')]
    """
    faces = [[Face(file, person) for file in files] for person, files in sorted(people.items())]
    same = [Pair(*pair, CALIBRATING) for of_one in faces for pair in combinations(of_one, 2)]
    others = [(a, b) for one, other in combinations(faces, 2) for a in one for b in other]
    count = min(len(same), len(others))
    taken = [others[i * (len(others) - 1) // max(count - 1, 1)] for i in range(count)]
    return [*same, *(Pair(*pair, CALIBRATING) for pair in taken)]


def _text(words: Sequence[str]) -> str:
    return quoted(shortened(" ".join(words))) if words else "empty"
