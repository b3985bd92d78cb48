"""Shape and kind of an image that NumPy saved; nothing in it is ever unpickled.

Source: numpy.lib.format, versions 1.0 to 3.0.
"""

from typing import BinaryIO, Literal, NamedTuple, cast

import numpy as np
from numpy.lib import format as npy

from unpool.data.refused import Refused

_KINDS = {"b": "u", "u": "u", "i": "i", "f": "f"}


class ArrayHeader(NamedTuple):
    """What an .npy file says of its image.

    Attributes:
        shape: (H, W, C).
        kind: of the values: unsigned, signed or floating point.
        bits: of each value; 1 of booleans.
    """

    shape: tuple[int, int, int]
    kind: Literal["u", "i", "f"]
    bits: int


def read_array_header(stream: BinaryIO) -> ArrayHeader:
    """The header of an .npy file.

    Raises:
        Refused: an array that is no image.
        ValueError: a damaged header.
    """
    stream.seek(0)
    major, _ = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if major == 1 else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.kind not in _KINDS:
        raise Refused(f"array holds {dtype}; expected integers, floating point or booleans")
    if len(shape) not in (2, 3):
        raise Refused(f"array has shape {shape}; expected (H, W) or (H, W, C)")
    if len(shape) == 3 and shape[0] < shape[2]:
        problem = f"array has shape {shape}; expected (H, W, C), its bands last"
        raise Refused(f"{problem}: save array.transpose(1, 2, 0) where they come first")
    height, width, bands = (*shape, 1)[:3]
    kind = cast(Literal["u", "i", "f"], _KINDS[dtype.kind])
    return ArrayHeader((height, width, bands), kind, 1 if dtype.kind == "b" else 8 * dtype.itemsize)


def read_array(stream: BinaryIO) -> np.ndarray:
    """(H, W, C) values of an .npy file whose header has been read and accepted."""
    stream.seek(0)
    values = npy.read_array(stream, allow_pickle=False)
    return values.reshape(*values.shape[:2], -1)
