"""TIFF files made by hand, byte by byte, with numbers of bits that no library here writes."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

SHORT, LONG = 3, 4


def packed(values: np.ndarray, bits: int, order: str) -> bytes:
    """Values (H, W, samples), the high bit first, each row filled up to a byte; whole bytes in the file's order."""
    if bits in (16, 32):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = ("".join(f"{int(value):0{bits}b}" for value in row.ravel()) for row in values)
    filled = [row + "0" * (-len(row) % 8) for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in filled)


def tiff(
    values: np.ndarray,
    *,
    bits: int,
    photometric: int | None,
    order: str = "<",
    deflate: bool = False,
    reverse: bool = False,
    more: Sequence[tuple[int, int, Sequence[int]]] = (),
) -> bytes:
    """One strip of (H, W) or (H, W, samples) unsigned values; `more` are further tags: number, kind, values."""
    height, width, samples = (*values.shape, 1)[:3]
    data = packed(values.reshape(height, width, samples), bits, order)
    data = zlib.compress(data) if deflate else data
    if reverse:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    tags = [
        (256, SHORT, [width]),
        (257, SHORT, [height]),
        (258, SHORT, [bits] * samples),
        (259, SHORT, [8 if deflate else 1]),
        (266, SHORT, [2 if reverse else 1]),
        (273, LONG, [0]),
        (277, SHORT, [samples]),
        (278, SHORT, [height]),
        (279, LONG, [len(data)]),
        *([] if photometric is None else [(262, SHORT, [photometric])]),
        *more,
    ]
    return _file(sorted(tags, key=lambda tag: tag[0]), data, order)


def _file(tags: Sequence[tuple[int, int, Sequence[int]]], data: bytes, order: str) -> bytes:
    width, code = {SHORT: 2, LONG: 4}, {SHORT: "H", LONG: "I"}
    behind = 8 + 2 + 12 * len(tags) + 4
    start = behind + sum(len(v) * width[kind] for _, kind, v in tags if len(v) * width[kind] > 4)
    entries, far = b"", b""
    for number, kind, values in tags:
        held = struct.pack(f"{order}{len(values)}{code[kind]}", *([start] if number == 273 else values))
        if len(held) > 4:
            held, far = struct.pack(f"{order}I", behind + len(far)), far + held
        entries += struct.pack(f"{order}HHI", number, kind, len(values)) + held.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + b"\0\0\0\0" + far + data
