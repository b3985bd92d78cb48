"""Number arrays, and numbers and text in fields of structs, out of MATLAB's files of version 5; no cells.

Source: MathWorks, "MAT-File Format": a header of 128 bytes, then elements of a type, a length and data; an element of
up to four bytes lies within its tag, others are padded to eight.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.image_file import printable
from unpool.data.text_file import require_below
from unpool.errors import DataError

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMBERS = range(6, 16)  # classes of arrays: double, single and integers
_PARTS = 4  # of an array of real numbers: flags, shape, name, values; imaginary parts are a fifth
_LARGEST = 1 << 30  # bytes of one array unpacked
_STRUCT, _TEXT = 2, 4  # classes of arrays


class _Element(NamedTuple):
    kind: int
    data: bytes


def read_matrix(path: Path, name: str) -> NDArray[np.generic]:
    """The array called `name`, in its shape.

    Raises:
        DataError: the file is no MATLAB file of version 5, is damaged, or has no such array of real numbers.
    """
    names = []
    with _opened(path) as (order, arrays):
        for parts in arrays:
            names.append(_text(parts[2]))
            if names[-1] == name and _class_of(parts, order) in _NUMBERS:
                if len(parts) > _PARTS:
                    raise DataError(f"{printable(path)} has complex numbers in {name!r}; only real ones are read")
                return _values(parts, order)
    raise DataError(f"{printable(path)} holds no array of numbers called {name!r}; it holds: {', '.join(names)}")


def read_structs(path: Path, name: str, fields: Sequence[str]) -> list[tuple[float | str, ...]]:
    """The values of some fields of each struct of an array of structs, in their order: one number, or a text.

    Raises:
        DataError: the file is no MATLAB file of version 5, is damaged, or has no such array with these fields.
    """
    with _opened(path) as (order, arrays):
        for parts in arrays:
            if _text(parts[2]) == name and _class_of(parts, order) == _STRUCT:
                length = int.from_bytes(parts[3].data, "little" if order == "<" else "big")
                titles = [text.rstrip("\0") for text in _cut(_text(parts[4]), length)]
                if set(fields) <= set(titles):
                    rows = _cut(parts[5:], len(titles))
                    return [tuple(_value(row[titles.index(field)], order) for field in fields) for row in rows]
    raise DataError(f"{printable(path)} has no structs called {name!r} with fields {', '.join(fields)}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[str, Iterator[list[_Element]]]]:
    """The order of bytes, and the parts of each array; raises DataError for what is no such file, or damaged."""
    require_below(path, _LARGEST)
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if not data.startswith(b"MATLAB 5.0 MAT-file") or order is None:
        raise DataError(f"{printable(path)} is no MATLAB file of version 5; save it as one: save(..., '-v7')")
    arrays = (list(_elements(_unpacked(element, order).data, order)) for element in _elements(data[_HEADER:], order))
    try:
        yield order, (parts for parts in arrays if len(parts) >= 3)
    except DataError:
        raise
    except (struct.error, zlib.error, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{printable(path)} is damaged: {error}") from error


def _class_of(parts: list[_Element], order: str) -> int:
    return parts[0].data[0 if order == "<" else 3]


def _text(element: _Element) -> str:
    return element.data.decode("ascii", "replace")


def _cut(items: Any, length: int) -> list[Any]:
    return [items[start : start + length] for start in range(0, len(items), length)]


def _value(element: _Element, order: str) -> float | str:
    parts = list(_elements(element.data, order))
    if _class_of(parts, order) != _TEXT:
        return float(_values(parts, order).item())
    codes = {2: "latin-1", 16: "utf-8"}.get(parts[3].kind, "utf-16-le" if order == "<" else "utf-16-be")
    return parts[3].data.decode(codes)


def _values(parts: list[_Element], order: str) -> NDArray[np.generic]:
    _, shape, _, real, *_ = parts
    values = np.frombuffer(real.data, order + _TYPES[real.kind])
    return values.reshape(np.frombuffer(shape.data, order + "i4"), order="F")


def _unpacked(element: _Element, order: str) -> _Element:
    if element.kind != _COMPRESSED:
        return element
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(element.data, _LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"an array is larger than {_LARGEST} bytes")
    if not (parts := list(_elements(data, order))):
        raise ValueError("a compressed element is empty")
    return parts[0]


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    offset = 0
    while offset + 8 <= len(data):
        kind, length = struct.unpack_from(order + "II", data, offset)
        if kind >> 16:  # length and type share four bytes, the data lies in the next four
            yield _Element(kind & 0xFFFF, data[offset + 4 : offset + 4 + (kind >> 16)])
            offset += 8
            continue
        if offset + 8 + length > len(data):
            raise ValueError(f"{offset + 8 + length - len(data)} bytes are missing at its end")
        yield _Element(kind, data[offset + 8 : offset + 8 + length])
        offset += 8 + length + (0 if kind == _COMPRESSED else -length % 8)
