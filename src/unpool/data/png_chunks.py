"""What the chunks of a PNG say that Pillow's parser does not: significant bits, EXIF behind the pixels, and damage.

Pillow's parser checks the sums of the chunks before the pixels, and neither those of the pixels nor the end.
Source: PNG Specification, Third Edition, 5.3 "Chunk layout", 11.3.2.7 "sBIT" and 11.3.3.7 "eXIf".
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import PngImagePlugin

from unpool.data.remarks import remark

_SIGNATURE = 8
_LONGEST_EXIF = 1 << 20  # bytes; the orientation stands at the start
_PART = 1 << 20  # bytes that are read at once

WRONG_SUM = "PNG chunk IDAT does not have the sum (CRC) that is stored with it, pixels may be damaged: restore the file"
NO_END = "PNG has no end (chunk IEND), the file may be cut off: restore it"


class StoredPng(PngImagePlugin.PngImageFile):
    """A PNG that remarks on its damage when it is loaded."""

    def load(self) -> Any:
        """As Pillow's, with the same pixels and errors."""
        stream = self.fp if self.tile else None
        loaded = super().load()
        if stream is not None:
            for sentence in _problems(stream):
                remark(sentence)
        return loaded


def _problems(stream: Any) -> Iterator[str]:
    """What is wrong with the sums of the pixels, and with the end."""
    kind, is_sound = b"", True
    for kind, length in _chunks(stream):
        if kind == b"IDAT" and is_sound:
            is_sound = _sum_of(stream, kind, length) == stream.read(4)
    if not is_sound:
        yield WRONG_SUM
    if kind != b"IEND":
        yield NO_END


def _sum_of(stream: Any, kind: bytes, length: int) -> bytes:
    total = zlib.crc32(kind)
    while length > 0 and (part := stream.read(min(length, _PART))):
        total = zlib.crc32(part, total)
        length -= len(part)
    return struct.pack(">I", total)


def significant_bits(stream: BinaryIO) -> int:
    """The largest number in the sBIT chunk, which stands before the pixels; 0 where there is none."""
    for kind, length in _chunks(stream):
        if kind == b"sBIT":
            return max(stream.read(min(length, 4)), default=0)
        if kind in (b"IDAT", b"PLTE"):
            break
    return 0


def exif_block(stream: BinaryIO) -> bytes:
    """The eXIf chunk, before the pixels or behind them; empty where there is none."""
    # a buffer would read all pixels, a little at each chunk
    raw = stream.raw if isinstance(stream, io.BufferedReader) else stream
    before = raw.tell()
    try:
        lengths = (length for kind, length in _chunks(raw) if kind == b"eXIf")
        return raw.read(min(next(lengths, 0), _LONGEST_EXIF)) or b""
    finally:
        raw.seek(before)


def _chunks(stream: BinaryIO | io.RawIOBase) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk, with the stream at its data; pixels are skipped, not read."""
    start = _SIGNATURE
    kind = b""
    while kind != b"IEND":
        stream.seek(start)
        head = stream.read(8) or b""
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, length
        start += length + 12
