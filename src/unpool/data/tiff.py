"""The values of a TIFF as they are stored, whatever its photometric interpretation.

Pillow reads what it reads right; the rest tifffile, the extra `tiff`: bands, other numbers of bits, planes of 16 bits.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np

from unpool.data.refused import Refused
from unpool.data.tiff_header import (
    BLACK_IS_ZERO,
    COLOURS,
    MASK,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    StoredTiff,
    TiffHeader,
    is_read_by_pillow,
    read_tiff_header,
)

INSTALL = "pip install 'unpool[tiff]'"
_UNDO: dict[tuple[int, int], Callable[[np.ndarray], np.ndarray]] = {  # what Pillow did, by bits, to show the image
    (WHITE_IS_ZERO, 1): lambda shown: 1 - shown,
    (WHITE_IS_ZERO, 2): lambda shown: 3 - shown // 85,
    (WHITE_IS_ZERO, 4): lambda shown: 15 - shown // 17,
    (WHITE_IS_ZERO, 8): lambda shown: 255 - shown,
    (BLACK_IS_ZERO, 2): lambda shown: shown // 85,
    (BLACK_IS_ZERO, 4): lambda shown: shown // 17,
}
_KNOWN = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK}


def require_readable(header: TiffHeader) -> None:
    """Raises Refused for colours that nothing here reads, and where tifffile is needed and missing."""
    if is_read_by_pillow(header):
        return
    if header.photometric not in _KNOWN:
        named = "no" if header.photometric < 0 else f"the number {header.photometric} as its"
        problem = f"TIFF of {header.bits} bits has {named} photometric interpretation"
        raise Refused(f"{problem}; expected grey, a palette or RGB: convert it")
    if find_spec("tifffile") is None:
        raise Refused(f"{_described(header)} needs tifffile: {INSTALL}")


def tiff_values(stream: BinaryIO, header: TiffHeader) -> np.ndarray:
    """(H, W, samples) of the first page, in its own kind of numbers.

    Args:
        stream: the file.
        header: of that file; grey, palette indices, RGB or bands.

    Raises:
        Refused: tifffile does not read it, or lacks imagecodecs, without which it decompresses little.
        OSError, ValueError and the like: the file is damaged.
    """
    if not is_read_by_pillow(header):
        return _by_tifffile(stream, header)
    if header.photometric == RGB and header.bits == 16:
        high, low = (_by_pillow(stream, is_swapped=is_swapped) for is_swapped in (False, True))
        return (high.astype(np.uint16) << 8) | low
    shown = _by_pillow(stream)
    stored = _UNDO.get((header.photometric, header.bits), lambda values: values)(shown.astype(_dtype(header)))
    return stored.reshape(header.height, header.width, -1)


def shown_values(stream: BinaryIO, header: TiffHeader) -> np.ndarray:
    """(H, W, samples) as `tiff_values`; indices of a palette are no values to be shown."""
    if header.photometric == PALETTE:
        raise Refused(f"TIFF has a palette of {header.bits} bits; convert it to RGB")
    return tiff_values(stream, header)


def grey_header(stream: BinaryIO) -> TiffHeader | None:
    """The header of a mask that is one number a pixel; None where it has a palette, alpha or colours of 8 bits.

    Raises:
        Refused: the mask has several samples that are no colours, or fractions.
    """
    header = read_tiff_header(stream)
    require_readable(header)
    if header.alpha or (header.samples == 1 and header.photometric == PALETTE):
        return None
    if header.photometric in COLOURS and header.samples == 3 and header.bits == 8:
        return None
    if header.samples != 1 or header.photometric in COLOURS or header.kind == "f":
        kind = {"u": "", "i": "signed ", "f": "floating point "}[header.kind]
        problem = f"mask has {header.samples} samples a pixel of {header.bits} {kind}bits"
        raise Refused(f"{problem}; expected one whole number, or colours of 8 bits: re-export as PNG")
    return header


def grey_values(stream: BinaryIO, header: TiffHeader) -> np.ndarray:
    """(H, W) int32 ids of a grey TIFF, exactly as stored; raises Refused for ids of more than 31 bits."""
    values = tiff_values(stream, header)[..., 0]
    if int(values.max()) > np.iinfo(np.int32).max or int(values.min()) < np.iinfo(np.int32).min:
        raise Refused(f"mask has ids {values.min()} to {values.max()}; expected at most 31 bits")
    return values.astype(np.int32)


def _by_pillow(stream: BinaryIO, *, is_swapped: bool = False) -> np.ndarray:
    """Pillow's values; `is_swapped` reads the bytes of 16-bit colours in the wrong order, to get at the low ones."""
    stream.seek(0)
    image = StoredTiff(stream)
    if is_swapped:
        image.tile = [tile._replace(args=_swapped(tile.args)) for tile in image.tile]
    else:
        image.tile = [tile._replace(args=_undivided(tile.args)) for tile in image.tile]
    return np.asarray(image)


def _swapped(args: Any) -> tuple[Any, ...]:
    """The arguments of a decoder of 16 bits, with the other order of bytes."""
    rawmode, *others = args
    native = "L" if np.little_endian else "B"
    order = native if rawmode[-1] == "N" else rawmode[-1]
    return f"{rawmode[:-1]}{'B' if order == 'L' else 'L'}", *others


def _undivided(args: Any) -> tuple[Any, ...]:
    """The arguments of a decoder that does not divide colours by an associated alpha."""
    rawmode, *others = args
    return "RGBA" if rawmode == "RGBa" else rawmode, *others


def _dtype(header: TiffHeader) -> np.dtype[Any]:
    bits = next(width for width in (8, 16, 32, 64) if width >= header.bits)
    return np.dtype(f"{header.kind}{bits // 8}")


def _by_tifffile(stream: BinaryIO, header: TiffHeader) -> np.ndarray:
    import tifffile  # takes 0.3 s, and few need it

    what = _described(header)
    stream.seek(0)
    try:
        values = tifffile.TiffFile(stream).pages.first.asarray(maxworkers=1)
    except (NotImplementedError, tifffile.TiffFileError) as error:
        raise Refused(f"{what} is not read ({error}); {INSTALL}, or convert it") from error
    except (ValueError, ImportError) as error:
        if "imagecodecs" in str(error):
            raise Refused(f"{what} needs imagecodecs: {INSTALL}") from error
        raise
    separate = header.samples if header.is_planar else 1
    planes = np.asarray(values).reshape(separate, header.height, header.width, header.samples // separate)
    return planes.transpose(1, 2, 0, 3).reshape(header.height, header.width, -1)


def _described(header: TiffHeader) -> str:
    planes = " in planes" if header.is_planar else ""
    return f"TIFF of {header.samples} samples{planes}, {header.bits} bits and compression {header.compression}"
