"""The lists that say which synset each image of a flat folder shows, in the forms that ImageNet has.

| file | a line |
|---|---|
| LOC_val_solution.csv, LOC_train_solution.csv | `ILSVRC2012_val_00048981,n03995372 85 1 499 272 ` |
| val.txt, train.txt | `ILSVRC2012_val_00000001.JPEG 65`, the class in the order of synset ids, from 0 |
| ILSVRC2012_validation_ground_truth.txt | `490`, of image after image, in the order of the development kit |

The kit numbers synsets in an order of its own, from 1: its meta.mat or map_clsloc.txt says which is which. Numbers of
val.txt and train.txt are read where the words file has all 1,000 synsets alone: in a shorter one they would be others.
"""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.matlab import read_structs
from unpool.data.synsets import SYNSET, Words, numbered_lines
from unpool.data.text_file import MOST_LISTED
from unpool.errors import DataError, quoted, shortened

TRUTH, MAP, META = "ILSVRC2012_validation_ground_truth.txt", "map_clsloc.txt", "meta.mat"
_HEADER = "imageid"
CLASSES = 1000  # among which val.txt and train.txt count


class Said(NamedTuple):
    """What a list says of one image: its synset, and file and line."""

    synset: str
    where: str


Labels = dict[str, Said]  # by the path of an image below its folder, without suffix


def list_names(part: str) -> tuple[str, ...]:
    """Returns the names of the lists that may label the images of a part."""
    return (f"LOC_{part}_solution.csv", f"{part}.txt", *([TRUTH] if part == "val" else []))


def files_of(path: Path) -> list[Path]:
    """Returns a list, and what says how it numbers synsets, where that is in another file."""
    numbering = (path.with_name(MAP), path.with_name(META)) if path.name == TRUTH else ()
    return [path, *(file for file in numbering if file.is_file())]


def read_labels(path: Path, files: Sequence[str], words: Words, *, is_whole: bool = True) -> Labels:
    """Returns the synset of each image of a folder, as a list says.

    Args:
        path: of the list, which has one of the names of `list_names`.
        files: images below the folder.
        words: whose synsets may occur.
        is_whole: whether every image of the folder must be on a line.

    Raises:
        DataError: a line cannot be read, names an image that is not there or twice, or a synset that `words` lacks, or
            an image is on no line; names file and line.
    """
    if path.name == TRUTH:
        labels = _by_truth(path, files)
    elif path.suffix != ".csv" and len(words.synsets) != CLASSES:
        problem = f"{printable(path)} numbers classes among {CLASSES:,}, and {printable(words.path)} has"
        raise DataError(
            f"{problem} {len(words.synsets)}, whose numbers are others: restore its lines, or sort the images into "
            "folders called as their synsets"
        )
    else:
        labels = _by_lines(path, _solution if path.suffix == ".csv" else lambda line: _indexed(line, words, path))
    for image, said in labels.items():
        if said.synset not in words.synsets:
            raise DataError(f"{said.where}: {said.synset} of {printable(image)} is not in {printable(words.path)}")
    _require_same_images(path, labels, files, is_whole=is_whole)
    return labels


def require_agreement(labels: Labels, others: Labels) -> None:
    """Raises DataError where two lists give an image two synsets; names both lines."""
    for image, said in labels.items():
        if (other := others[image]).synset != said.synset:
            problem = f"{said.where} says {said.synset} of {printable(image)}, and {other.where} {other.synset}"
            raise DataError(f"{problem}: restore the lists of one download, or take one of them away")


def stem_of(file: str) -> str:
    """Returns a path without the suffix of an image.

    >>> stem_of("val/a.b.JPEG")
    'val/a.b'
    """
    return PurePosixPath(file).with_suffix("").as_posix()


def _by_lines(path: Path, read: Callable[[str], tuple[str, str]]) -> Labels:
    """Returns what the lines say; `read` returns image and synset of one, or raises ValueError with what is wrong."""
    labels: Labels = {}
    for number, line in numbered_lines(path, most=MOST_LISTED):
        where = f"{printable(path)}: line {number}"
        if number == 1 and line.lower().startswith(_HEADER):
            continue
        try:
            image, synset = read(line)
        except ValueError as error:
            raise DataError(f"{where} is {quoted(shortened(line))}; {error}") from error
        if image in labels:
            raise DataError(f"{where}: {printable(image)} is on an earlier line too: leave one of them out")
        labels[image] = Said(synset, where)
    return labels


def _solution(line: str) -> tuple[str, str]:
    image, _, answer = line.partition(",")
    words = answer.split()
    synsets = set(words[::5])
    if len(words) % 5 or len(synsets) != 1 or not all(map(SYNSET.fullmatch, synsets)):
        raise ValueError("expected an image, a comma, and boxes of one synset, such as 'a,n03995372 85 1 499 272'")
    return image.strip(), synsets.pop()


def _indexed(line: str, words: Words, path: Path) -> tuple[str, str]:
    file, _, index = line.rpartition(" ")
    if not (file and index.isascii() and index.isdigit() and int(index) < len(words.synsets)):
        raise ValueError(f"expected an image and its class, 0 to {len(words.synsets) - 1}, such as 'a.JPEG 65'")
    if not words.is_ordered:
        raise ValueError(
            f"{printable(words.path)} is not in the order of synset ids, which the numbers of {path.name} are in, so "
            "they may mean other classes: sort its lines if they do not"
        )
    return stem_of(file.strip()), words.synsets[int(index)]


def _by_truth(path: Path, files: Sequence[str]) -> Labels:
    """Line i is of the image whose name ends in i."""
    lines, synset_of = numbered_lines(path, most=MOST_LISTED), _numbering(path.parent)
    if len(lines) != len(files):
        counts = f"{len(lines)} lines, and {len(files)} images are there"
        raise DataError(f"{printable(path)} has {counts}: one of the two was cut off, restore it")
    image_of = {file.rpartition("_")[2].lstrip("0"): file for file in map(stem_of, files)}
    labels: Labels = {}
    for position, (number, line) in enumerate(lines, start=1):
        where = f"{printable(path)}: line {number}"
        if line not in synset_of:
            raise DataError(f"{where} is {quoted(shortened(line))}; expected 1 to {len(synset_of)}, a class of the kit")
        if str(position) not in image_of:
            raise DataError(f"{where} is of an image that is not there, whose name ends in _{position:08d}")
        labels[image_of[str(position)]] = Said(synset_of[line], where)
    return labels


def _numbering(folder: Path) -> dict[str, str]:
    """Returns the synset of each number of the development kit."""
    if (path := folder / MAP).is_file():
        rows = [line.split() for _, line in numbered_lines(path, most=MOST_LISTED)]
        pairs = [(row[1] if len(row) > 1 else "", row[0]) for row in rows]
    elif (path := folder / META).is_file():
        rows = read_structs(path, "synsets", ("ILSVRC2012_ID", "WNID"))
        pairs = [(f"{number:g}" if isinstance(number, float) else str(number), str(synset)) for number, synset in rows]
    else:
        problem = f"{printable(folder / TRUTH)} has numbers of the development kit, which are no class indices"
        raise DataError(f"{problem}, and neither {META} nor {MAP} is beside it: put one of the kit's there")
    wrong = [pair for pair in pairs if not pair[0].isdigit() or not SYNSET.fullmatch(pair[1])]
    if wrong or len(dict(pairs)) != len(pairs):
        what = f"names {quoted(' '.join(reversed(wrong[0])).strip())}" if wrong else "has a number twice"
        raise DataError(f"{printable(path)} {what}; expected a synset and a number of its own each: restore it")
    return dict(pairs)


def _require_same_images(path: Path, labels: Labels, files: Sequence[str], *, is_whole: bool) -> None:
    images = set(map(stem_of, files))
    if absent := [image for image in labels if image not in images]:
        more = f", as do {len(absent) - 1} other lines" if len(absent) > 1 else ""
        first = f"{labels[absent[0]].where} names {printable(absent[0])}"
        raise DataError(f"{first}, which is not there{more}: restore the images, or shorten the list")
    if is_whole and (unlisted := sorted(images - set(labels))):
        problem = f"{printable(path)} has no line of {len(unlisted)} images, such as {printable(unlisted[0])}"
        raise DataError(f"{problem}: restore the list, or take them away")
