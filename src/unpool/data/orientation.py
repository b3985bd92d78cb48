"""EXIF orientation: of an image, with what is wrong about it, and of values."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from unpool.data.png_chunks import exif_block

_TAG = 274
_KINDS = {1: "B", 3: "H", 4: "I"}  # of whole numbers, by their number in the list of tags
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([0-9]+)")
_NONE = "the image is not turned"


class Orientation(NamedTuple):
    """How an image is to be turned.

    Attributes:
        number: 1 to 8 as EXIF has it; 1 where there is none, or none that can be read.
        fault: a sentence on what is wrong with it; empty where nothing is.
    """

    number: int = 1
    fault: str = ""


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) values as EXIF orientation 1 to 8 says they are to be seen; others turn nothing.

    >>> turned(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::rows, ::columns]


def orientation_of(image: Image.Image, stream: BinaryIO) -> Orientation:
    """The orientation of an image that is no TIFF and whose file is `stream`; EXIF counts before XMP."""
    try:
        block = _block(image, stream)
    except ValueError:
        return Orientation(fault=f"EXIF block is damaged: {_NONE}")
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    match = _XMP.search(xmp.encode() if isinstance(xmp, str) else xmp)
    described = () if match is None else (int(match[1]),)
    numbers: list[int] = []
    try:
        numbers.extend(_numbers(block) if block else ())
    except (struct.error, ValueError):
        known = checked((*numbers, *described))
        what = "the orientation before the damage counts" if numbers else "XMP counts" if described else _NONE
        return known._replace(fault=known.fault or f"EXIF block is damaged: {what}")
    return checked((*numbers, *described))


def checked(numbers: tuple[int, ...]) -> Orientation:
    """The first of the orientations that a file states, where it is one.

    >>> checked((6, 6)), checked((0,)).number, checked((6, 1)).fault[:43]
    (Orientation(number=6, fault=''), 1, 'EXIF orientation is 6 and elsewhere 1 in th')
    """
    if not numbers:
        return Orientation()
    first, *others = numbers
    if not 1 <= first <= 8:
        return Orientation(fault=f"EXIF orientation is {first}, expected 1 to 8: {_NONE}")
    if unlike := [other for other in others if other != first]:
        fault = f"EXIF orientation is {first} and elsewhere {unlike[0]} in the same file: the first counts"
        return Orientation(first, fault)
    return Orientation(first)


def _block(image: Image.Image, stream: BinaryIO) -> bytes:
    block = image.info.get("exif") or (exif_block(stream) if image.format == "PNG" else b"")
    text = image.info.get("Raw profile type exif")
    block = bytes.fromhex("".join(str(text).split("\n")[3:])) if text and not block else block
    return re.sub(b"^(Exif\0\0){1,2}", b"", block)


def _numbers(block: bytes) -> Iterator[int]:
    """The orientations in the first directory of an EXIF block; raises struct.error or ValueError where it is none."""
    if block[:2] not in (b"II", b"MM") or block[2:4] not in (b"*\0", b"\0*"):
        raise ValueError("its first bytes are not those of a TIFF")
    order = "<" if block[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for index in range(count):
        tag, kind, length, value = struct.unpack_from(f"{order}HHI4s", block, start + 2 + 12 * index)
        if tag == _TAG and length == 1 and kind in _KINDS:
            yield struct.unpack_from(f"{order}{_KINDS[kind]}", value)[0]
        elif tag == _TAG:
            raise ValueError("its orientation is no whole number")
