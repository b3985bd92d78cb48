"""Opens an image file by its first bytes and reads its header; says what is wrong with it, or why it is refused.

The format is read from the first bytes, never from the name; only seven formats are enabled. Sizes are checked in the
header, before anything is allocated.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import ExifTags, Image, ImageFile

from unpool.data.formats import HEAD_BYTES, PARSERS, sniff
from unpool.errors import DataError
from unpool.types import Exif, Fault

LIMIT_PIXELS = 100_000_000
Source = Path | bytes

# what Pillow's parsers are known to raise on damaged files
_PARSER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
)


class Unusable(DataError):
    """One file that must be mended before anything is trained on its set."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.fault = Fault(path, reason)

    def __str__(self) -> str:
        return f"{self.fault.path}: {self.fault.reason}"


class Unreadable(Unusable):
    """One damaged file that a scan leaves out and counts."""


class Probe(NamedTuple):
    """What the header of an image file says; the size is as stored, before any orientation.

    Attributes:
        bits: of each value, 16 where there are more than 8.
    """

    height: int
    width: int
    format: str
    mode: str
    frames: int
    orientation: int
    bits: int = 8


def printable(path: str | os.PathLike[str]) -> str:
    """The path with bytes that are no UTF-8, and control characters, written as escapes."""
    if (plain := os.fspath(path)).isprintable():
        return plain
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def probe(source: Source, *, name: str | None = None) -> Probe:
    """The header of an image file; no pixel is decoded."""
    with opened(source, name_of(source, name)) as image:
        frames = getattr(image, "n_frames", 1)
        turn, bits = orientation(image), 16 if _is_deep(image) else 8
        is_swapped = image.format == "TIFF" and 5 <= turn <= 8  # Pillow gives the size of a turned TIFF
        width, height = reversed(image.size) if is_swapped else image.size
        return Probe(height, width, str(image.format), image.mode, frames, turn, bits)


def header(path: Path, *, exif: Exif = "apply") -> tuple[int, int]:
    """(height, width) that `decode_image` will give, from the header alone."""
    return oriented(probe(path), exif)


def oriented(probed: Probe, exif: Exif) -> tuple[int, int]:
    """(height, width) after the orientation, of which 5 to 8 lie on their side."""
    is_turned = exif == "apply" and 5 <= probed.orientation <= 8
    return (probed.width, probed.height) if is_turned else (probed.height, probed.width)


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a value, which Pillow's mode tells of grey only."""
    rawmode, most = stored_as(image)
    is_deep_map = image.format == "PPM" and isinstance(most, int) and most > 255
    return image.mode.startswith("I") or str(rawmode).endswith((";16B", ";16L", ";16N")) or is_deep_map


def stored_as(image: Image.Image) -> tuple[object, object]:
    """Pillow's name of the values as stored, and the last argument of its decoder, the largest value in a PGM."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return (args[0], args[-1]) if isinstance(args, tuple) and args else (args, None)


def orientation(image: Image.Image) -> int:
    # the base class's method: that of PNG decodes the whole image to look for a tag behind it
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def name_of(source: Source, name: str | None) -> str:
    if name is None:
        return printable(source) if isinstance(source, Path) else "image"
    return name


@contextmanager
def opened(source: Source, name: str) -> Iterator[Image.Image]:
    with _stream(source, name) as stream:
        form = _enabled_format(stream, name)
        try:
            image = PARSERS[form](stream)
            image.format = form
            _check_size(image, name)
            yield image
        except Unusable:
            raise
        except _PARSER_ERRORS as error:
            raise _as_fault(error, form, stream, name) from error


def _stream(source: Source, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise Unreadable(name, f"cannot read ({error.strerror})") from error


def _enabled_format(stream: BinaryIO, name: str) -> str:
    try:
        head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise Unreadable(name, f"cannot read ({error.strerror})") from error
    stream.seek(0)
    form = sniff(head)
    if not head:
        raise Unreadable(name, "file is empty (0 bytes)")
    if form is None:
        raise Unreadable(name, f"not an image: it starts with {head[:8]!r}")
    if form not in PARSERS:
        raise Unusable(name, f"format {form} not enabled; convert it to one of {', '.join(PARSERS)}")
    return form


def _check_size(image: Image.Image, name: str) -> None:
    pixels = image.width * image.height
    if pixels > LIMIT_PIXELS:
        size = f"{image.width}x{image.height} = {pixels:.2g} pixels"
        raise Unusable(name, f"image is {size}; the limit is {LIMIT_PIXELS:.2g}: cut it into tiles")
    if pixels == 0:
        raise Unreadable(name, f"image is {image.width}x{image.height}: it has no pixels")


def _as_fault(error: Exception, form: str, stream: BinaryIO, name: str) -> Unusable:
    if isinstance(error, OSError) and error.strerror:
        return Unreadable(name, f"cannot read ({error.strerror})")
    if isinstance(error, ValueError) and "MAX_TEXT" in str(error):
        return Unusable(name, f"{form} metadata is larger than the limit ({error}); re-save the image without it")
    if form == "JPEG" and _is_arithmetic(stream):
        return Unusable(name, "JPEG is arithmetic-coded, which this build of Pillow cannot decode; re-save it")
    return Unreadable(name, f"damaged {form} file: {error}")


def _is_arithmetic(stream: BinaryIO) -> bool:
    """Whether the frame marker of a JPEG is SOF9, 10 or 11."""
    stream.seek(2)
    while (marker := stream.read(4)) and len(marker) == 4 and marker[0] == 0xFF:
        if 0xC0 <= marker[1] <= 0xCF and marker[1] not in (0xC4, 0xC8, 0xCC):
            return marker[1] in (0xC9, 0xCA, 0xCB)
        stream.seek(int.from_bytes(marker[2:], "big") - 2, os.SEEK_CUR)
    return False
