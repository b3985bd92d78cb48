"""One annotation file of PASCAL VOC: the size of its image, and name, box and difficulty of each object.

The standard library's expat reads it as a stream, so that nothing recurses. Files with a document type are refused,
which alone can define entities, and so are those nested more than `DEEPEST` deep.

Source: Everingham et al. 2010, "The PASCAL Visual Object Classes Challenge", development kit, section 9.
"""

from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from unpool.data.image_file import Unreadable, printable
from unpool.data.readers.numbers import FARTHEST, is_position, number_of
from unpool.data.text_file import require_below
from unpool.errors import DataError, quoted

DEEPEST = 64  # tags within one another; VOC has five
MOST_BYTES = 64 << 20  # of a file: 200,000 objects
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_OBJECT = ("annotation", "object")
_FILE = ("annotation", "filename")
_WANTED = {
    ("annotation", "size", "width"),
    ("annotation", "size", "height"),
    (*_OBJECT, "name"),
    (*_OBJECT, "difficult"),
    *((*_OBJECT, "bndbox", side) for side in _SIDES),
}


class VocObject(NamedTuple):
    """One object: its box as the file has it, from the first pixel, which is 1, to the last."""

    name: str
    box: tuple[float, float, float, float]
    is_difficult: bool


class VocFile(NamedTuple):
    """What a file says of its image."""

    size_hw: tuple[int, int]
    objects: tuple[VocObject, ...]
    filename: str = ""  # of its image, which need not be so: sets are renamed


def read_voc_file(path: Path) -> VocFile:
    """Reads an annotation file in any encoding that it declares.

    Raises:
        Unreadable: it is no XML, or a tag is missing, stands twice, or holds another kind of value.
        DataError: it has a document type, is nested too deeply or too large, or a coordinate is no finite number.
    """
    require_below(path, MOST_BYTES)
    tags = _Tags(path)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = tags.refuse_doctype
    parser.EntityDeclHandler = tags.refuse_doctype
    parser.StartElementHandler, parser.EndElementHandler = tags.start, tags.end
    parser.CharacterDataHandler = tags.text
    try:
        parser.Parse(path.read_bytes())
        parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keywords: the end of the file
    except DataError:  # also a ValueError, as expat raises of an encoding
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unreadable(printable(path), f"is no valid XML ({error})") from error
    return tags.content()


class _Tags:
    """Takes the tags of a file as they are met; `objects` has one mapping of texts for each object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: list[str] = []
        self._text: list[str] = []
        self._size: dict[str, str] = {}
        self._objects: list[dict[str, str]] = []

    def refuse_doctype(self, *_: object) -> None:
        problem = "declares a document type, which can define entities that expand without end"
        raise DataError(f"{printable(self._path)} {problem}: delete its <!DOCTYPE ...>")

    def start(self, name: str, _: dict[str, str]) -> None:
        self._open.append(name)
        self._text.clear()
        if len(self._open) > DEEPEST:
            raise DataError(
                f"{printable(self._path)} has tags nested more than {DEEPEST} deep; VOC has five: it is no annotation"
            )
        if tuple(self._open) == _OBJECT:
            self._objects.append({})

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, name: str) -> None:
        if tuple(self._open) in _WANTED:
            values = self._objects[-1] if self._open[1] == _OBJECT[1] else self._size
            if name in values:
                raise Unreadable(printable(self._path), f"{self._where()}<{name}> stands twice")
            values[name] = "".join(self._text).strip()
        elif tuple(self._open) == _FILE:
            self._size.setdefault(name, "".join(self._text).strip())
        self._open.pop()
        self._text.clear()

    def content(self) -> VocFile:
        sides = [self._required(self._size, side, "size") for side in ("height", "width")]
        height, width = (number_of(side) for side in sides)
        if not (height and width and 0 < height <= FARTHEST and 0 < width <= FARTHEST):
            raise Unreadable(printable(self._path), f"<size> is {quoted(sides[1])}x{quoted(sides[0])} pixels")
        objects = tuple(map(self._object, range(len(self._objects))))
        return VocFile((int(height), int(width)), objects, self._size.get("filename", ""))

    def _object(self, index: int) -> VocObject:
        values, where = self._objects[index], f"object {index + 1}: "
        name = self._required(values, "name", "object", where)
        texts = {side: self._required(values, side, "bndbox", where) for side in _SIDES}
        box = [number_of(text) for text in texts.values()]
        for side, value in zip(_SIDES, box, strict=True):
            if not is_position(value):
                problem = f"{printable(self._path)}, {where}{side} is {quoted(texts[side])}"
                raise DataError(f"{problem}; expected a finite number of pixels: correct it")
        if (difficult := values.get("difficult", "0")) not in ("0", "1"):
            raise Unreadable(printable(self._path), f"{where}<difficult> is {quoted(difficult)}; expected 0 or 1")
        left, top, right, bottom = (float(value or 0) for value in box)
        return VocObject(name, (left, top, right, bottom), difficult == "1")

    def _required(self, values: dict[str, str], tag: str, above: str, where: str = "") -> str:
        if not values.get(tag):
            raise Unreadable(printable(self._path), f"{where}has no <{tag}> in its <{above}>")
        return values[tag]

    def _where(self) -> str:
        return f"object {len(self._objects)}: " if self._objects else ""
