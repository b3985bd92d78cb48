"""Pictures and masks in many formats, generated, and ways to damage their bytes."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

SIZE_HW = (40, 56)
CLASSES = 2


class Written(NamedTuple):
    """A file's format, the suffix it should have, and its bytes."""

    form: str
    suffix: str
    data: bytes


IMAGES = {  # form: (suffix, Pillow's format, mode, options)
    "jpeg": ("jpg", "JPEG", "RGB", {"quality": 90}),
    "jpeg progressive": ("jpg", "JPEG", "RGB", {"progressive": True, "quality": 75}),
    "jpeg grey": ("jpeg", "JPEG", "L", {}),
    "jpeg cmyk": ("jpg", "JPEG", "CMYK", {}),
    "png": ("png", "PNG", "RGB", {}),
    "png alpha": ("png", "PNG", "RGBA", {}),
    "png grey": ("png", "PNG", "L", {}),
    "png palette": ("png", "PNG", "P", {}),
    "png 16 bits": ("png", "PNG", "I;16", {}),
    "tiff": ("tif", "TIFF", "RGB", {}),
    "tiff lzw": ("tiff", "TIFF", "RGB", {"compression": "tiff_lzw"}),
    "tiff deflate": ("tif", "TIFF", "L", {"compression": "tiff_adobe_deflate"}),
    "bmp": ("bmp", "BMP", "RGB", {}),
    "webp": ("webp", "WEBP", "RGB", {"quality": 80}),
    "webp lossless": ("webp", "WEBP", "RGBA", {"lossless": True}),
    "gif": ("gif", "GIF", "P", {}),
    "ppm": ("ppm", "PPM", "RGB", {}),
}
MASKS = {
    "png grey": ("png", "PNG", "L", {}),
    "png palette": ("png", "PNG", "P", {}),
    "tiff": ("tif", "TIFF", "L", {}),
    "tiff lzw": ("tif", "TIFF", "L", {"compression": "tiff_lzw"}),
    "bmp": ("bmp", "BMP", "L", {}),
    "gif": ("gif", "GIF", "P", {}),
    "npy": ("npy", "", "", {}),
}


def picture(rng: random.Random, form: str) -> Written:
    """A scene of discs on a gradient with some noise."""
    draw = np.random.default_rng(rng.randrange(2**32))
    height, width = SIZE_HW
    rows, columns = np.mgrid[:height, :width]
    scene = np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.float64)
    for _ in range(4):
        y, x, radius = draw.integers(0, height), draw.integers(0, width), draw.integers(4, 14)
        scene[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = draw.integers(0, 256, 3)
    values = (scene + draw.normal(0, 6, scene.shape)).clip(0, 255).astype(np.uint8)
    suffix, kind, mode, options = IMAGES[form]
    if mode == "I;16":
        image = Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(values).convert(mode)
    return Written(form, suffix, _encoded(image, kind, options))


def mask(rng: random.Random, form: str) -> Written:
    """Rectangles of class 1 on class 0."""
    values = np.zeros(SIZE_HW, dtype=np.uint8)
    top, left = rng.randrange(20), rng.randrange(30)
    values[top : top + 18, left : left + 24] = CLASSES - 1
    suffix, kind, mode, options = MASKS[form]
    if form == "npy":
        out = io.BytesIO()
        np.save(out, values)
        return Written(form, suffix, out.getvalue())
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1])  # grey values that are the ids
    return Written(form, suffix, _encoded(image, kind, options))


def _encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _bits(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, rng.randrange(64), rng.randrange(len(data)), len(data) - 1, len(data) - 20))]


def _header(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 4))):
        changed[rng.randrange(min(64, len(data)))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _blocks_swapped(data: bytes, rng: random.Random) -> bytes:
    size = rng.choice((8, 32, 128))
    first, second = sorted((rng.randrange(max(1, len(data) - size)), rng.randrange(max(1, len(data) - size))))
    second = max(second, first + size)
    return b"".join(
        (data[:first], data[second : second + size], data[first + size : second], data[first : first + size])
    ) + data[second + size :]  # fmt: skip


def _zeroed(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data)), rng.choice((4, 64, 512))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def _inserted(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 3, 200))) + data[at + rng.choice((0, 0, 5)) :]


def _appended(data: bytes, rng: random.Random) -> bytes:
    return data + rng.choice((b"\0" * 64, rng.randbytes(300), data, b"<html>not found</html>"))


def _chunks_changed(data: bytes, rng: random.Random) -> bytes:
    """PNG chunks in another order, doubled, left out or with another value, their sums being right."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return _bits(data, rng)
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], bytearray(data[at + 8 : at + 8 + length])))
        at += 12 + length
    first, second = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    change = rng.randrange(4)
    if change == 0:
        chunks[first], chunks[second] = chunks[second], chunks[first]
    elif change == 1:
        chunks.insert(second, chunks[first])
    elif change == 2:
        del chunks[first]
    elif chunks[first][1]:
        chunks[first][1][rng.randrange(len(chunks[first][1]))] = rng.choice((0, 1, 2, 3, 6, 8, 16, 255))
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + name + bytes(body) + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _whole(data: bytes, rng: random.Random) -> bytes:
    return data


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": _bits,
    "cut": _cut,
    "header edited": _header,
    "blocks swapped": _blocks_swapped,
    "block zeroed": _zeroed,
    "bytes inserted": _inserted,
    "bytes appended": _appended,
    "chunks changed": _chunks_changed,
    "suffix of another format": _whole,
}
SUFFIXES = ("jpg", "png", "bmp", "gif", "webp", "tif", "ppm", "JPG", "npy")


def damaged(written: Written, rng: random.Random) -> tuple[Written, str]:
    """The file with one damage, and its name."""
    name = rng.choice([*DAMAGES])
    suffix = rng.choice(SUFFIXES) if name == "suffix of another format" or rng.random() < 0.05 else written.suffix
    return Written(written.form, suffix, DAMAGES[name](written.data, rng)), name
