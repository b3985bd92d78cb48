"""Label files of YOLO: one line a box, `class x y width height`, centre and size as fractions of the image.

Every line that is no such line is a mistake that is named: pixels, decimal commas, confidences, polygons, and numbers
of classes that are no whole numbers or that data.yaml does not name.

Source: docs.ultralytics.com, "Object Detection Datasets Overview".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.findings import grouped
from unpool.data.image_file import printable
from unpool.data.readers.numbers import number_of
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted, shortened
from unpool.types import Fault

MOST_BYTES = 64 << 20  # of a file: a million boxes
_BEYOND = 2.0  # fractions of the image, from which on a number is one of pixels


class YoloBox(NamedTuple):
    """One line: number of the class, and the centre and size of its box in fractions of the image."""

    line: int
    number: int
    box: tuple[float, float, float, float]


def label_file(image: str) -> str:
    """Returns the path of the label file of an image: labels in the place of its last folder called images.

    >>> label_file("images/train/a.jpg"), label_file("train/images/b.png"), label_file("photos/c.jpg")
    ('labels/train/a.txt', 'train/labels/b.txt', 'photos/c.txt')
    """
    parts = list(PurePosixPath(image).with_suffix(".txt").parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return "/".join(parts)


def require_one_image_each(root: Path, images: Sequence[str]) -> None:
    """Raises DataError where two images, such as a.jpg and a.png, have one label file, which is there."""
    first: dict[str, str] = {}
    for image in images:
        other = first.setdefault(file := label_file(image), image)
        if other != image and (root / file).is_file():
            both = f"{printable(other)} and {printable(image)}"
            raise DataError(f"{both} have one label file, {printable(file)}: rename one of them, or move it away")


def read_label_files(root: Path, images: Sequence[str], num_classes: int) -> Mapping[str, tuple[YoloBox, ...]]:
    """Returns the lines of the label file of each image that has one, which may have none.

    Raises:
        DataError: lines that are no boxes of YOLO, each with its number and content.
    """
    read = {image: one for image in images if (one := _read(root, label_file(image))) is not None}
    faults = [fault for one in read.values() for fault in one if isinstance(fault, Fault)]
    if faults:
        raise DataError(f"{len(faults)} lines of label files cannot be read:\n{grouped(faults)}")
    boxes = {image: tuple(box for box in one if isinstance(box, YoloBox)) for image, one in read.items()}
    _require_numbers(boxes, num_classes)
    return boxes


def _read(root: Path, file: str) -> list[YoloBox | Fault] | None:
    """Returns the box of each line of a label file, or what is wrong with the line; None where there is no file."""
    try:
        lines = read_text(root / file, most=MOST_BYTES).splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        return [Fault(printable(file), f"is no UTF-8 text ({error}): save it as such")]
    parsed = [_parse(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    return [one if isinstance(one, YoloBox) else Fault(printable(file), one) for one in parsed]


def _parse(line: int, words: Sequence[str]) -> YoloBox | str:
    """Returns the box of a line, or a sentence on what is wrong with it."""
    wrong = _fault(words)
    if wrong:
        return f"line {line} is {quoted(shortened(' '.join(words)))}: {wrong}"
    x, y, width, height = (float(word) for word in words[1:])
    return YoloBox(line, int(words[0]), (x, y, width, height))


def _fault(words: Sequence[str]) -> str:
    """Returns what is wrong with a line; empty where nothing is."""
    if len(words) != 5:
        kind = {6: ", of which the last may be a confidence: these are answers of a network"}.get(len(words), "")
        kind = kind or (", which may be a polygon: export boxes" if len(words) > 6 and len(words) % 2 else "")
        return f"{len(words)} columns{kind}; expected 5: class x y width height"
    if not words[0].removeprefix("-").isdecimal() or not words[0].isascii():
        return f"the class is {quoted(words[0])}; expected a whole number"
    numbers = [number_of(word) for word in words[1:]]
    for word, number in zip(words[1:], numbers, strict=True):
        if number is None:
            return f"{quoted(word)} is no number; expected fractions of the image, with a decimal point"
    x, y, width, height = (float(number or 0) for number in numbers)
    if width < 0 or height < 0:
        return "a size is negative; expected fractions of the image"
    if max(abs(x), abs(y), width, height) > _BEYOND:
        return "these may be pixels; expected fractions of the image, 0 to 1: divide x and width by its width"
    return ""


def _require_numbers(boxes: Mapping[str, Sequence[YoloBox]], num_classes: int) -> None:
    wrong = [(image, one) for image, lines in boxes.items() for one in lines if not 0 <= one.number < num_classes]
    if not wrong:
        return
    unknown = sorted({one.number for _, one in wrong})
    numbers = ", ".join(map(str, unknown[:20])) + (", ..." if len(unknown) > 20 else "")
    image, line = wrong[0][0], wrong[0][1].line
    problem = f"{len(wrong)} boxes have the classes {numbers}, such as line {line} of {printable(label_file(image))}"
    advice = "correct the labels, or the names in data.yaml"
    raise DataError(f"{problem}; data.yaml names {num_classes}, 0 to {num_classes - 1}: {advice}").of(
        "data.label_range"
    )
