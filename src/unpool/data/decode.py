"""From one image file to a uint8 tensor: Pillow decodes and never resizes.

- The format is read from the first bytes, never from the name; only seven formats are enabled.
- Sizes are checked in the header, before anything is allocated.
- 16-bit grey becomes 8-bit as round(v / 257); 16-bit RGB keeps the high byte of each channel, as Pillow reads it. No
  task sees more than 8 bits, denoising included: what is rounded off a grey is 59 dB below white.
- Embedded ICC profiles are ignored; an alpha channel is dropped.
- EXIF orientation is applied to images unless `exif` is "ignore" (in a PNG where it stands before the pixels).
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps
from torch import Tensor

from unpool.data.formats import HEAD_BYTES, PARSERS, SUFFIXES, sniff
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
    with _opened(source, _name(source, name)) as image:
        frames = getattr(image, "n_frames", 1)
        turn, bits = _orientation(image), 16 if _is_deep(image) else 8
        return Probe(image.height, image.width, str(image.format), image.mode, frames, turn, bits)


def header(path: Path, *, exif: Exif = "apply") -> tuple[int, int]:
    """(height, width) that `decode_image` will give, from the header alone."""
    return oriented(probe(path), exif)


def oriented(probed: Probe, exif: Exif) -> tuple[int, int]:
    """(height, width) after the orientation, of which 5 to 8 lie on their side."""
    is_turned = exif == "apply" and 5 <= probed.orientation <= 8
    return (probed.width, probed.height) if is_turned else (probed.height, probed.width)


def notes(path: str, probed: Probe, channels: int, *, exif: Exif = "apply") -> tuple[str, ...]:
    """Conversions of this image that its owner may not expect, one sentence a kind."""
    sentences = []
    named = SUFFIXES.get(PurePosixPath(path).suffix.lower())
    if named is not None and named != probed.format:
        sentences.append(f"{probed.format} data in a file named as {named}, read as {probed.format}")
    if probed.frames > 1:
        sentences.append(f"{probed.format} of {probed.frames} frames, only the first is used")
    if probed.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L") and channels == 3:
        sentences.append("grey image, its one channel used for all 3")
    if probed.mode.startswith("I"):
        sentences.append("16-bit grey image, scaled to 8 bits by v / 257")
    elif probed.bits > 8:
        sentences.append("16-bit colour image, reduced to 8 bits")
    if probed.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        sentences.append("image with an alpha channel, which is dropped")
    if probed.orientation != 1:
        sentences.append("EXIF orientation applied" if exif == "apply" else "EXIF orientation ignored")
    return tuple(sentences)


def decode_image(source: Source, channels: int, *, name: str | None = None, exif: Exif = "apply") -> Tensor:
    """The (first) image of a file.

    Args:
        source: a path, or the bytes of a file.
        channels: 1 for grey (ITU-R 601 luma), 3 for RGB; a grey image is repeated.
        name: what errors call it, by default its path.
        exif: "apply" turns the image as its EXIF orientation says.

    Returns:
        (channels, H, W) uint8.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: its format is not enabled, it is too large, or its values have no known range.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; an image has 1 (grey) or 3 (RGB)")
    name = _name(source, name)
    with _opened(source, name) as image:
        is_turned = exif == "apply" and _orientation(image) != 1
        image.load()
        upright = ImageOps.exif_transpose(image) if is_turned else image
        values = _eight_bits(upright, channels, name)
    # numpy copies on one thread; torch would wake its whole team in each decoding thread
    return torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))


def decode_mask(path: Path, *, palette: Sequence[tuple[int, int, int]] = ()) -> Tensor:
    """The ids of a mask, exactly as stored.

    Grey values of 1 to 16 bits and palette indices are ids as they stand; the colours of a colour mask become their
    positions in `palette`. No orientation is applied.

    Returns:
        (H, W) int32.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: the mask is a JPEG, has an alpha channel, or holds colours that the palette does not.
    """
    name = printable(path)
    with _opened(path, name) as image:
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
            raise Unusable(name, f"mask has an alpha channel (mode {image.mode}){_examples(image)}; re-export without")
        stored = _undo_scaling(image)
        image.load()
        if image.mode == "RGB":
            ids = colour_ids(np.asarray(image), palette, name, is_lossy=image.format == "JPEG")
        elif image.format == "JPEG":
            raise Unusable(name, "mask is lossy JPEG, its ids are smeared; re-export as PNG")
        elif image.mode in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
            ids = stored(np.asarray(image).astype(np.int32))
        else:
            raise Unusable(name, f"mask has mode {image.mode}; expected grey, palette or RGB: re-export as PNG")
    return torch.from_numpy(ids)


def colour_ids(
    colours: np.ndarray, palette: Sequence[tuple[int, int, int]], name: str, *, is_lossy: bool = False
) -> np.ndarray:
    """(H, W, 3) uint8 colours -> (H, W) int32 positions in the palette; `Unusable` lists the colours it lacks."""
    if not palette:
        raise Unusable(name, "mask is a colour image and its classes have no colours; add r g b to each class line")
    packed = (colours.astype(np.int32) << np.array([16, 8, 0], np.int32)).sum(axis=2, dtype=np.int32)
    unique, where = np.unique(packed, return_inverse=True)
    position = {(r << 16) | (g << 8) | b: i for i, (r, g, b) in enumerate(palette)}
    ids = np.array([position.get(int(c), -1) for c in unique], np.int32)
    unknown = unique[ids < 0]
    if is_lossy:
        raise Unusable(name, f"{len(unknown):,} unknown colours: mask is lossy JPEG; re-export as PNG")
    if len(unknown):
        listed = ", ".join(_colour_text(int(c)) for c in unknown[:8]) + (", ..." if len(unknown) > 8 else "")
        hint = "give each its line in classes.txt, or re-export without anti-aliasing"
        raise Unusable(name, f"{len(unknown):,} unknown colours in the mask: {listed}; {hint}")
    return ids[where].reshape(packed.shape)


def _colour_text(packed: int) -> str:
    return f"({packed >> 16}, {packed >> 8 & 255}, {packed & 255})"


def _examples(image: Image.Image) -> str:
    image.load()
    counts = image.convert("RGBA").getcolors(maxcolors=image.width * image.height) or []
    clear = sorted({colour for _, colour in counts if isinstance(colour, tuple) and colour[3] != 255})[:8]
    return f", colours with alpha: {', '.join(map(str, clear))}" if clear else ""


def _undo_scaling(image: Image.Image) -> Callable[[np.ndarray], np.ndarray]:
    """Pillow stretches 2- and 4-bit grey, and the values of a PGM, to the full range; an id is what was stored."""
    rawmode, most = _stored_as(image)
    if rawmode in ("L;2", "L;4"):
        step = 85 if rawmode == "L;2" else 17
        return lambda values: values // step
    if image.format == "PPM" and isinstance(most, int):
        full = 255 if image.mode == "L" else 65535
        return lambda values: np.rint(values * (most / full)).astype(np.int32)
    return lambda values: values


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a value, which Pillow's mode tells of grey only."""
    rawmode, most = _stored_as(image)
    is_deep_map = image.format == "PPM" and isinstance(most, int) and most > 255
    return image.mode.startswith("I") or str(rawmode).endswith((";16B", ";16L", ";16N")) or is_deep_map


def _stored_as(image: Image.Image) -> tuple[object, object]:
    """Pillow's name of the values as stored, and the last argument of its decoder, the largest value in a PGM."""
    args = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return (args[0], args[-1]) if isinstance(args, tuple) and args else (args, None)


def _orientation(image: Image.Image) -> int:
    # the base class's method: that of PNG decodes the whole image to look for a tag behind it
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def _eight_bits(image: Image.Image, channels: int, name: str) -> np.ndarray:
    """(H, W, channels) uint8."""
    if image.mode == "F":
        has_nan = not np.isfinite(np.asarray(image)).all()
        reason = "holds NaN or infinite values" if has_nan else "has 32-bit float values of unknown range"
        raise Unusable(name, f"image {reason}; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise Unusable(name, f"image has values {wide.min()} to {wide.max()}; expected 0 to 65535 (16 bits)")
        grey = ((wide + 128) // 257).astype(np.uint8)[..., None]
        return np.repeat(grey, channels, axis=2)
    if image.mode in ("P", "PA"):
        # the detour keeps the colour of a transparent palette entry
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    wanted = "L" if channels == 1 else "RGB"
    if image.mode != wanted:
        image = image.convert(wanted)
    return np.asarray(image).reshape(image.height, image.width, channels)


def _name(source: Source, name: str | None) -> str:
    if name is None:
        return printable(source) if isinstance(source, Path) else "image"
    return name


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
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
