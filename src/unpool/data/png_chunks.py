"""What the chunks of a PNG say that Pillow's parser does not: significant bits, and EXIF that stands behind the pixels.

Source: PNG Specification, Third Edition, 5.3 "Chunk layout", 11.3.2.7 "sBIT" and 11.3.3.7 "eXIf".
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

_SIGNATURE = 8
_LONGEST_EXIF = 1 << 20  # bytes; the orientation stands at the start


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
