"""Number arrays out of MATLAB's files of version 5, which is all that is read of them: no structs, cells or text.

Source: MathWorks, "MAT-File Format": a header of 128 bytes, then elements of a type, a length and data; an element of
up to four bytes lies within its tag, others are padded to eight.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


class _Element(NamedTuple):
    kind: int
    data: bytes


def read_matrix(path: Path, name: str) -> NDArray[np.generic]:
    """The array called `name`, in its shape.

    Raises:
        DataError: the file is no MATLAB file of version 5, is damaged, or has no such array of real numbers.
    """
    require_below(path, _LARGEST)
    data = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if not data.startswith(b"MATLAB 5.0 MAT-file") or order is None:
        raise DataError(f"{printable(path)} is no MATLAB file of version 5; save it as one: save(..., '-v7')")
    names = []
    try:
        for element in _elements(data[_HEADER:], order):
            parts = list(_elements(_unpacked(element, order).data, order))
            if len(parts) < 3:
                continue
            names.append(parts[2].data.decode("ascii", "replace"))
            if names[-1] == name and parts[0].data[0 if order == "<" else 3] in _NUMBERS:
                if len(parts) > _PARTS:
                    raise DataError(f"{printable(path)} has complex numbers in {name!r}; only real ones are read")
                return _values(parts, order)
    except DataError:
        raise
    except (struct.error, zlib.error, ValueError, KeyError, IndexError) as error:
        raise DataError(f"{printable(path)} is damaged: {error}") from error
    raise DataError(f"{printable(path)} holds no array of numbers called {name!r}; it holds: {', '.join(names)}")


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
