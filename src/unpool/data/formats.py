"""Which image format some bytes are, by their first bytes alone, and which formats may be parsed."""

from typing import NamedTuple

from PIL import GifImagePlugin, PpmImagePlugin, WebPImagePlugin

from unpool.data.bmp import StoredBmp
from unpool.data.jpeg import StoredJpeg
from unpool.data.png_chunks import StoredPng
from unpool.data.tiff_header import StoredTiff

NPY = "NPY"  # an array of NumPy, which no parser of Pillow reads

# called directly, never through Image.open, so that no other parser ever sees the user's bytes
PARSERS = {
    "JPEG": StoredJpeg,
    "PNG": StoredPng,
    "BMP": StoredBmp,
    "GIF": GifImagePlugin.GifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": StoredTiff,
    "PPM": PpmImagePlugin.PpmImageFile,
}

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".apng": "PNG",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
    ".npy": "NPY",
}

# listed all the same, so that a picture in such a file is refused by name and not left out in silence
REFUSED_SUFFIXES = frozenset(
    {
        *(".eps", ".ps", ".psd", ".fits", ".fit", ".pdf", ".wmf", ".emf", ".fli", ".flc", ".ico", ".cur", ".fpx"),
        *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".tga", ".svg"),
    }
)


class _Magic(NamedTuple):
    offset: int
    start: bytes
    format: str


_MAGIC = (
    _Magic(0, b"\xff\xd8\xff", "JPEG"),
    _Magic(0, b"\x89PNG\r\n\x1a\n", "PNG"),
    _Magic(0, b"GIF87a", "GIF"),
    _Magic(0, b"GIF89a", "GIF"),
    _Magic(8, b"WEBP", "WEBP"),
    _Magic(0, b"II*\0", "TIFF"),
    _Magic(0, b"MM\0*", "TIFF"),
    _Magic(0, b"II+\0", "TIFF"),
    _Magic(0, b"%!PS", "EPS"),
    _Magic(0, b"\xc5\xd0\xd3\xc6", "EPS"),
    _Magic(0, b"8BPS", "PSD"),
    _Magic(0, b"SIMPLE  =", "FITS"),
    _Magic(0, b"%PDF", "PDF"),
    _Magic(0, b"\xd7\xcd\xc6\x9a", "WMF"),
    _Magic(0, b"\x01\x00\x09\x00", "WMF"),
    _Magic(40, b" EMF", "EMF"),
    _Magic(0, b"\0\0\1\0", "ICO"),
    _Magic(0, b"\0\0\2\0", "CUR"),
    _Magic(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "FPX"),
    _Magic(4, b"ftypavi", "AVIF"),
    _Magic(4, b"ftyphei", "HEIC"),
    _Magic(4, b"ftypmif1", "HEIC"),
    _Magic(4, b"jP  \r\n", "JPEG2000"),
    _Magic(0, b"\xff\x4f\xff\x51", "JPEG2000"),
    _Magic(0, b"<svg", "SVG"),
    _Magic(4, b"\x11\xaf", "FLI"),
    _Magic(4, b"\x12\xaf", "FLI"),
    _Magic(0, b"BM", "BMP"),
    _Magic(0, b"\x93NUMPY", "NPY"),
)
HEAD_BYTES = 64


def sniff(head: bytes) -> str | None:
    """Name of the format whose signature the first `HEAD_BYTES` bytes bear, enabled or not; None for no image."""
    for magic in _MAGIC:
        if head[magic.offset : magic.offset + len(magic.start)] == magic.start:
            return magic.format
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return None
