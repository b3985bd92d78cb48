"""Mask files written byte by byte, so that another library makes them than the one that decodes them."""

import io
import struct
from collections.abc import Sequence

import numpy as np
import tifffile

from tests.data.encoding import chunk, png

Colours = Sequence[tuple[int, int, int]]
EXIF_TAG = 0x0112


def grey_png(values: np.ndarray, *, extra: bytes = b"") -> bytes:
    """8 or 16 bits, by the type of the values."""
    depth = 8 * values.dtype.itemsize
    return _png(values.astype(f">u{values.dtype.itemsize}"), depth=depth, colour=0, extra=extra)


def rgb_png(values: np.ndarray, *, extra: bytes = b"") -> bytes:
    return _png(values.astype(np.uint8).reshape(len(values), -1), depth=8, colour=2, width=values.shape[1], extra=extra)


def palette_png(indices: np.ndarray, colours: Colours, *, alpha: Sequence[int] = (), extra: bytes = b"") -> bytes:
    palette = chunk(b"PLTE", bytes(value for colour in colours for value in colour))
    clear = chunk(b"tRNS", bytes(alpha)) if alpha else b""
    return _png(indices.astype(np.uint8), depth=8, colour=3, extra=palette + clear + extra)


def palette_gif(indices: np.ndarray, colours: Colours, *, clear: int | None = None, frames: int = 1) -> bytes:
    """A global table of 128 colours, filled up with black, and codes of 8 bits that never use the dictionary."""
    height, width = indices.shape
    table = bytes(value for colour in colours for value in colour).ljust(128 * 3, b"\0")
    control = b"\x21\xf9\x04" + bytes([1, 0, 0, clear]) + b"\0" if clear is not None else b""
    flat = indices.astype(np.uint8).tobytes()
    codes = b"".join(b"\x80" + flat[i : i + 100] for i in range(0, len(flat), 100)) + b"\x81"
    blocks = b"".join(bytes([len(b)]) + b for b in (codes[i : i + 255] for i in range(0, len(codes), 255))) + b"\0"
    frame = control + b"\x2c" + struct.pack("<4HB", 0, 0, width, height, 0) + b"\x07" + blocks
    return b"GIF89a" + struct.pack("<2H3B", width, height, 0xF6, 0, 0) + table + frames * frame + b"\x3b"


def palette_bmp(indices: np.ndarray, colours: Colours, *, bits: int = 8) -> bytes:
    """Rows from below, each filled up to four bytes, its first pixel in the highest bits."""
    height, width = indices.shape
    table = b"".join(struct.pack("4B", blue, green, red, 0) for red, green, blue in colours)
    packed = ["".join(f"{index:0{bits}b}" for index in row) for row in indices[::-1].tolist()]
    rows = b"".join(int(row + "0" * (-len(row) % 32), 2).to_bytes(-(-len(row) // 32) * 4, "big") for row in packed)
    start = 54 + len(table)
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(rows), 2835, 2835, len(colours), 0)
    return head + info + table + rows


def palette_tiff(indices: np.ndarray, colours: Colours, *, shift: int = 257) -> bytes:
    """A colour map of 16 bits, as written by tifffile; `shift` 1 is the mistake of some writers."""
    table = np.zeros((3, 256), np.uint16)
    table[:, : len(colours)] = np.array(colours, np.uint16).T * shift
    stream = io.BytesIO()
    tifffile.imwrite(stream, indices.astype(np.uint8), photometric="palette", colormap=table)
    return stream.getvalue()


def grey_tiff(values: np.ndarray, *, orientation: int = 1, photometric: str = "minisblack") -> bytes:
    stream = io.BytesIO()
    tags = [(EXIF_TAG, "H", 1, orientation, False)] if orientation != 1 else []
    tifffile.imwrite(stream, values, photometric=photometric, extratags=tags)
    return stream.getvalue()


def stack_tiff(pages: np.ndarray) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pages, photometric="minisblack")
    return stream.getvalue()


def npy(values: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=allow_pickle)
    return stream.getvalue()


def exif(orientation: int, *, order: str = "<") -> bytes:
    """An EXIF block of one tag."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    tag = struct.pack(f"{order}HHIHH", EXIF_TAG, 3, 1, orientation, 0)
    return start + struct.pack(f"{order}IH", 8, 1) + tag + struct.pack(f"{order}I", 0)


def exif_chunk(orientation: int, *, order: str = "<") -> bytes:
    """The chunk of a PNG."""
    return chunk(b"eXIf", exif(orientation, order=order))


def with_late_exif(png: bytes, orientation: int) -> bytes:
    """A PNG with the chunk behind its pixels."""
    end = len(chunk(b"IEND", b""))
    return png[:-end] + exif_chunk(orientation) + png[-end:]


def with_exif(jpeg: bytes, orientation: int, *, order: str = "<") -> bytes:
    """A JPEG with an APP1 segment behind its start."""
    block = b"Exif\0\0" + exif(orientation, order=order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def _png(rows: np.ndarray, *, depth: int, colour: int, width: int | None = None, extra: bytes = b"") -> bytes:
    packed = b"".join(b"\0" + row.tobytes() for row in rows)
    return png(width or rows.shape[1], len(rows), depth=depth, colour=colour, rows=packed, extra=extra)
