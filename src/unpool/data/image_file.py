"""Opens an image file by its first bytes and reads its header; says what is wrong with it, or why it is refused.

The format is read from the first bytes, never from the name; only seven formats, and arrays of NumPy, are enabled.
Sizes are checked in the header, before anything is allocated.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from PIL import Image, ImageFile

from unpool.data.array_header import ArrayHeader, read_array_header
from unpool.data.formats import HEAD_BYTES, NPY, PARSERS, sniff
from unpool.data.orientation import checked, orientation_of
from unpool.data.png_chunks import significant_bits
from unpool.data.refused import Refused
from unpool.data.stack import File, Page
from unpool.data.tiff import require_readable
from unpool.data.tiff_header import (
    COLOURS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    TiffHeader,
    is_read_by_pillow,
    read_tiff_header,
)
from unpool.errors import DataError
from unpool.types import MOST_PIXELS, Exif, Fault, Range

Source = File | bytes
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")

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
        mode: Pillow's; empty where Pillow does not read the file.
        bits: of each value.
        kind: of the values: unsigned, signed or floating point.
        bands: values of a pixel, alpha left out; 3 for colours in any form.
        is_colour: the bands are red, green and blue.
        alpha: which samples of a pixel are alpha, counted from 1; the others are the bands.
        is_white_zero: the smallest value is white, in a grey TIFF.
        stated: the values that are black and white, where the file says so.
        significant: bits that the file calls significant, where those are fewer; 0 where it does not say.
        turn_fault: a sentence on what is wrong with the orientation; empty where nothing is.
        is_associated: the bands are stored multiplied by alpha.
    """

    height: int
    width: int
    format: str
    mode: str
    frames: int
    orientation: int
    bits: int = 8
    kind: Literal["u", "i", "f"] = "u"
    bands: int = 1
    is_colour: bool = False
    alpha: tuple[int, ...] = ()
    is_white_zero: bool = False
    stated: Range | None = None
    significant: int = 0
    turn_fault: str = ""
    is_associated: bool = False

    @property
    def is_deep(self) -> bool:
        """Whether the values have another range than 0 to 255."""
        return self.bits > 8 or self.kind != "u"


def printable(path: str | os.PathLike[str] | Page) -> str:
    """The path with bytes that are no UTF-8, and control characters, written as escapes; of a page, with its number."""
    if isinstance(path, Page):
        return f"{printable(path.path)} page {path.number}"
    if (plain := os.fspath(path)).isprintable():
        return plain
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def probe(source: Source, *, name: str | None = None, max_pixels: int = MOST_PIXELS) -> Probe:
    """The header of an image file; no pixel is decoded."""
    name = name_of(source, name)
    with recognised(source, name) as (form, stream):
        return probe_of(form, stream, name, max_pixels=max_pixels)


def probe_of(form: str, stream: BinaryIO, name: str, *, max_pixels: int = MOST_PIXELS) -> Probe:
    """The header of a file in a stream of that format."""
    if form == "TIFF":
        probed = _probe_tiff(read_tiff_header(stream), stream, name, max_pixels)
    elif form == NPY:
        probed = _probe_array(read_array_header(stream))
    else:
        probed = probe_image(parsed(form, stream, name, max_pixels=max_pixels), stream)
    check_size(probed.height, probed.width, name, max_pixels=max_pixels)
    return probed


def probe_image(image: Image.Image, stream: BinaryIO) -> Probe:
    """What Pillow's parser says of a file in `stream`, which is no TIFF."""
    rawmode, most = stored_as(image)
    frames, form = getattr(image, "n_frames", 1), str(image.format)
    is_colour = image.mode not in _GREY_MODES and rawmode != "LA;16B"
    has_alpha = image.mode in _ALPHA_MODES or (form == "PNG" and str(rawmode).startswith(("RGBA", "LA")))
    turn = orientation_of(image, stream)
    probed = Probe(image.height, image.width, form, image.mode, frames, turn.number)
    probed = probed._replace(
        turn_fault=turn.fault,
        bits=16 if is_deep(image) else 8,
        bands=3 if is_colour else 1,
        is_colour=is_colour,
        alpha=(4 if is_colour else 2,) if has_alpha else (),
        stated=(0, most if isinstance(most, int) else 65535) if form == "PPM" else None,
    )
    if form == "PNG" and probed.bits == 16:
        bits = significant_bits(stream)
        return probed._replace(stated=(0, 65535)) if bits == 16 else probed._replace(significant=bits)
    return probed


def _probe_tiff(header: TiffHeader, stream: BinaryIO, name: str, max_pixels: int) -> Probe:
    require_readable(header)
    is_colour = header.photometric in COLOURS
    mode = parsed("TIFF", stream, name, max_pixels=max_pixels).mode if is_read_by_pillow(header) else ""
    turn = checked(header.turns)
    probed = Probe(header.height, header.width, "TIFF", mode, header.pages, turn.number)
    return probed._replace(
        turn_fault=turn.fault,
        is_associated=header.is_associated,
        bits=8 if header.photometric == PALETTE and mode else header.bits,
        kind=header.kind,
        bands=header.bands if header.photometric == RGB or not is_colour else 3,
        is_colour=is_colour and (header.photometric != RGB or header.bands == 3),
        alpha=header.alpha,
        is_white_zero=header.photometric == WHITE_IS_ZERO,
        stated=header.stated,
    )


def _probe_array(header: ArrayHeader) -> Probe:
    height, width, bands = header.shape
    return Probe(height, width, NPY, "", 1, 1, bits=header.bits, kind=header.kind, bands=bands)


def header(path: Path, *, exif: Exif = "apply") -> tuple[int, int]:
    """(height, width) that `decode_image` will give, from the header alone."""
    return oriented(probe(path), exif)


def oriented(probed: Probe, exif: Exif) -> tuple[int, int]:
    """(height, width) after the orientation, of which 5 to 8 lie on their side."""
    is_turned = exif == "apply" and 5 <= probed.orientation <= 8
    return (probed.width, probed.height) if is_turned else (probed.height, probed.width)


def is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a value, which Pillow's mode says of grey only."""
    rawmode, most = stored_as(image)
    is_deep_map = image.format == "PPM" and isinstance(most, int) and most > 255
    return image.mode.startswith("I") or str(rawmode).endswith((";16B", ";16L", ";16N")) or is_deep_map


def stored_as(image: Image.Image) -> tuple[object, object]:
    """Pillow's name of the values as stored, and the last argument of its decoder, the largest value in a PGM."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return (args[0], args[-1]) if isinstance(args, tuple) and args else (args, None)


def name_of(source: Source, name: str | None) -> str:
    if name is None:
        return "image" if isinstance(source, bytes) else printable(source)
    return name


@contextmanager
def opened(source: Source, name: str, *, max_pixels: int = MOST_PIXELS) -> Iterator[Image.Image]:
    """Pillow's parser on the file: header read, no pixel decoded."""
    with recognised(source, name) as (form, stream):
        yield parsed(form, stream, name, max_pixels=max_pixels)


@contextmanager
def recognised(source: Source, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """Format and bytes of a file; what a parser raises inside becomes a fault that names the file."""
    with _stream(source, name) as stream:
        form = _enabled_format(stream, name)
        try:
            yield form, stream
        except DataError:
            raise
        except _PARSER_ERRORS as error:
            raise _as_fault(error, form, stream, name) from error


def parsed(form: str, stream: BinaryIO, name: str, *, max_pixels: int = MOST_PIXELS) -> Image.Image:
    """Pillow's parser on a stream of that format, from its start."""
    if form not in PARSERS:
        raise Unusable(name, f"format {form} holds an array, where a picture is expected: save it as PNG or TIFF")
    stream.seek(0)
    image = PARSERS[form](stream)
    image.format = form
    check_size(image.height, image.width, name, max_pixels=max_pixels)
    return image


def _stream(source: Source, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return source.open("rb")
    except OSError as error:
        raise Unreadable(name, f"cannot read ({error.strerror})") from error
    except (ValueError, struct.error) as error:  # of a page
        raise Unreadable(name, f"damaged file: {error}") from error


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
    if form not in (*PARSERS, NPY):
        raise Unusable(name, f"format {form} not enabled; convert it to one of {', '.join(PARSERS)}")
    return form


def check_size(height: int, width: int, name: str, *, max_pixels: int = MOST_PIXELS) -> None:
    """Raises for an image too large to be decoded, or of no pixels."""
    pixels = width * height
    if pixels > max_pixels:
        size = f"{width}x{height} = {pixels:.2g} pixels"
        raise Unusable(name, f"image is {size}; the limit is {max_pixels:.2g}: {larger(pixels)}, or cut it into tiles")
    if pixels == 0:
        raise Unreadable(name, f"image is {width}x{height}: it has no pixels")


def larger(pixels: int) -> str:
    """What to do to read an image of more pixels than are allowed."""
    return f"if you trust the file, set data.max_pixels={pixels} (predict: --max-pixels {pixels})"


def _as_fault(error: Exception, form: str, stream: BinaryIO, name: str) -> Unusable:
    if isinstance(error, Refused):
        return Unusable(name, str(error))
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
