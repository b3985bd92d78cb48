"""The number of significant bits that a PNG states.

Source: PNG Specification, Third Edition, 11.3.2.7 "sBIT Significant bits".
"""

import struct
from typing import BinaryIO

_SIGNATURE = 8


def significant_bits(stream: BinaryIO) -> int:
    """The largest number in the sBIT chunk, which stands before the pixels; 0 where there is none."""
    stream.seek(_SIGNATURE)
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"sBIT":
            return max(stream.read(min(length, 4)), default=0)
        if kind in (b"IDAT", b"PLTE", b"IEND"):
            break
        stream.seek(length + 4, 1)
    return 0
