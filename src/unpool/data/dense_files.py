"""Files of disparity and of flow as the sets of the field store them; what is not known is NaN.

- PFM, Middlebury's: rows from the bottom to the top, in the byte order that the sign of the third line says; infinity
  is not known. vision.middlebury.edu/stereo/data
- .flo, Middlebury's and FlyingChairs': "PIEH", width, height, then u and v of each pixel, least byte first; beyond 1e9
  is not known. vision.middlebury.edu/flow/code/flow-code/README.txt
- KITTI's PNG of 16 bits: disparity times 256, 0 is not known; flow times 64 plus 2**15 in red and green, known where
  blue is not 0. readme.txt of the development kits of 2012 and 2015
"""

import re
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.image_file import Unreadable, Unusable, printable, recognised
from unpool.data.stored import read_values
from unpool.errors import require_files
from unpool.types import MOST_PIXELS, Decoding

_PFM = re.compile(rb"(P[Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s")
_HEAD = 200  # bytes, of which the header of a PFM takes fewer
_FLO = 12  # bytes of the header
LARGEST_FLOW = 1e9  # pixels; larger ones stand for what is not known
KITTI_DISPARITY, KITTI_FLOW, KITTI_ZERO = 256.0, 64.0, 2**15


class Header(NamedTuple):
    """What the first bytes of a file say.

    Attributes:
        size_hw: of the map.
        start: bytes before the values.
        order: ">" for the highest byte first, "<" for the lowest.
    """

    size_hw: tuple[int, int]
    start: int
    order: str


def pfm_header(path: Path) -> Header:
    """The header of a PFM of one channel.

    Raises:
        Unusable: it is no PFM, has three channels, or does not say its byte order.
        Unreadable: it cannot be read.
    """
    header = _PFM.match(_bytes(path, _HEAD))
    if header is None:
        raise Unusable(printable(path), "no PFM: expected Pf, width and height, and a scale in its first lines")
    kind, width, height, scale = header.groups()
    if kind == b"PF":
        raise Unusable(printable(path), "PFM has three channels (PF): expected disparities, one a pixel (Pf)")
    try:
        sign = float(scale)
    except ValueError:
        sign = 0.0
    if sign == 0:
        text = scale.decode("ascii")
        raise Unusable(
            printable(path), f"PFM has the scale {text}, whose sign says the byte order: expected -1 or 1, restore it"
        )
    return Header(_checked(path, int(height), int(width)), header.end(), "<" if sign < 0 else ">")


def read_pfm(path: Path) -> Tensor:
    """(H, W) float32 of a PFM, its first row at the top, in either byte order.

    Raises:
        Unusable, Unreadable: as `pfm_header`; or the file is cut off or too long, or a disparity is negative.

    Example:
        >>> import tempfile
        >>> from unpool.ops.dense_bytes import pfm_bytes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.pfm")
        ...     _ = path.write_bytes(pfm_bytes(torch.tensor([[1.0, 2.0], [3.0, torch.nan]])))
        ...     read_pfm(path)
        tensor([[1., 2.],
                [3., nan]])
    """
    header = pfm_header(path)
    values = _values(path, header, 1)[::-1, :, 0]
    if (least := np.min(values, where=np.isfinite(values), initial=0)) < 0:
        raise Unusable(
            printable(path),
            f"holds disparities down to {least:.6g}; expected how many pixels further left the right image shows a "
            "point, 0 or more: turn the sign around, or give infinity where it is not known",
        )
    return torch.from_numpy(np.where(np.isfinite(values), values, np.float32(np.nan)).astype(np.float32))


def flo_header(path: Path) -> Header:
    """The header of a .flo file.

    Raises:
        Unusable: it is no .flo file, or its bytes are turned around.
        Unreadable: it cannot be read.
    """
    head = _bytes(path, _FLO)
    if head[:4] == b"HEIP":
        raise Unusable(printable(path), ".flo file has its highest byte first, and expected is the lowest: restore it")
    if head[:4] != b"PIEH" or len(head) < _FLO:
        raise Unusable(printable(path), "no .flo file: expected PIEH, width and height at its start")
    width, height = struct.unpack("<2i", head[4:])
    return Header(_checked(path, height, width), _FLO, "<")


def read_flo(path: Path) -> Tensor:
    """(2, H, W) float32: to the right and down.

    Raises:
        Unusable, Unreadable: as `flo_header`; or the file is cut off or too long.

    Example:
        >>> import tempfile
        >>> from unpool.ops.dense_bytes import flo_bytes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.flo")
        ...     _ = path.write_bytes(flo_bytes(torch.tensor([[[1.5]], [[-2.0]]])))
        ...     read_flo(path).flatten()
        tensor([ 1.5000, -2.0000])
    """
    values = _values(path, flo_header(path), 2)
    is_known = (np.abs(values) < LARGEST_FLOW).all(2, keepdims=True)
    values = np.where(is_known, values, np.float32(np.nan)).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def read_kitti_disparity(path: Path, *, max_pixels: int = MOST_PIXELS) -> Tensor:
    """(H, W) float32 of a PNG of 16 bits and one channel.

    Raises:
        Unusable: it has 8 bits or colours.
        Unreadable: it cannot be read.
    """
    stored = _png(path, 1, max_pixels)[..., 0].astype(np.float32)
    return torch.from_numpy(np.where(stored == 0, np.float32(np.nan), stored / np.float32(KITTI_DISPARITY)))


def read_kitti_flow(path: Path, *, max_pixels: int = MOST_PIXELS) -> Tensor:
    """(2, H, W) float32 of a PNG of 16 bits and three channels.

    Raises:
        Unusable: it has 8 bits, or one channel.
        Unreadable: it cannot be read.
    """
    stored = _png(path, 3, max_pixels).astype(np.float32)
    flow = (stored[..., :2] - np.float32(KITTI_ZERO)) / np.float32(KITTI_FLOW)
    flow = np.where(stored[..., 2:] == 0, np.float32(np.nan), flow)
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))


def _png(path: Path, channels: int, max_pixels: int) -> np.ndarray:
    with recognised(path, printable(path)) as (form, stream):
        values = read_values(form, stream, printable(path), Decoding(channels=channels, max_pixels=max_pixels))
    bits, bands = values.header.bits, 3 if values.header.is_colour else 1
    if (form, bits, bands) != ("PNG", 16, channels):
        raise Unusable(
            printable(path),
            f"{form} of {bits} bits and {bands} channels; expected KITTI's PNG of 16 bits and {channels}: an image of "
            "other bits has lost its values, take the file as it was published",
        )
    return values.bands


def _bytes(path: Path, most: int = -1) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(most)
    except OSError as error:
        require_files(error)
        raise Unreadable(printable(path), f"cannot read ({error.strerror})") from error


def _checked(path: Path, height: int, width: int) -> tuple[int, int]:
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise Unusable(
            printable(path), f"says it is {width}x{height} pixels; expected at least 1 and at most {MOST_PIXELS:,}"
        )
    return height, width


def _values(path: Path, header: Header, channels: int) -> np.ndarray:
    """(H, W, channels) numbers behind the header."""
    height, width = header.size_hw
    data, needed = _bytes(path), 4 * channels * height * width
    if (held := len(data) - header.start) != needed:
        fault = "cut off" if held < needed else "longer than its header says, or its lines end otherwise"
        raise Unreadable(
            printable(path), f"{fault}: {width}x{height} pixels need {needed} bytes, and {held} are there: restore it"
        )
    return np.frombuffer(data, header.order + "f4", channels * height * width, header.start).reshape(
        height, width, channels
    )
