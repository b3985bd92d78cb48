"""The values of an image file as they are stored: of any number of bits and bands, before any range or turn."""

import re
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from unpool.data.array_header import read_array
from unpool.data.bands import choose_bands, require_bands
from unpool.data.formats import NPY, PARSERS
from unpool.data.image_file import Probe, parsed, probe_of, stored_as
from unpool.data.refused import Refused
from unpool.data.tiff import shown_values
from unpool.data.tiff_header import read_tiff_header
from unpool.types import Decoding

_HALVES = {"RGB": ("RGB;16B", "RGB;16L"), "RGBA": ("RGBA;16B", "RGBA;16L")}  # the high and the low bytes of a value
_OPAQUE = 255
_PPM = re.compile(rb"P([2356])" + 3 * rb"(?:\s+|#[^\n]*\n)+(\d+)" + rb"(?:\s*#[^\n]*\n)?\s")


class Values(NamedTuple):
    """What a file stores.

    Attributes:
        bands: (H, W, bands) those that are asked for.
        header: of the file.
        alpha: (H, W) 0 to 1 of a file of which no bands are asked for; None where all is opaque.
    """

    bands: np.ndarray
    header: Probe
    alpha: np.ndarray | None


def read_values(form: str, stream: BinaryIO, name: str, decoding: Decoding) -> Values:
    """The values of a file as stored, in the bands that are asked for, and its header.

    Colours with a palette, of CMYK and of YCbCr are RGB. To be called inside of `image_file.recognised`, which gives
    `form` and `stream`, and turns errors into those of the file.

    Raises:
        Refused: the extra `tiff` is missing that reads the file, its colours are of another kind, or its bands others.
    """
    probed = probe_of(form, stream, name, max_pixels=decoding.max_pixels)
    require_bands(probed, decoding)
    samples, alpha = _samples(form, stream, name, probed, decoding)
    if decoding.bands:
        alpha = None
    elif alpha is None and probed.alpha and samples.shape[2] > probed.bands:
        stored = samples[..., probed.alpha[0] - 1]
        alpha = stored / (np.iinfo(stored.dtype).max if stored.dtype.kind in "ui" else 1.0)
    is_opaque = alpha is None or bool((alpha >= 1).all())
    probed = probed._replace(is_associated=probed.is_associated and samples.shape[2] > probed.bands)
    return Values(choose_bands(samples, probed, decoding), probed, None if is_opaque else alpha)


def _samples(
    form: str, stream: BinaryIO, name: str, probed: Probe, decoding: Decoding
) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, samples), or (H, W, bands) and alpha (H, W) 0 to 1, which is None where all is opaque."""
    with_alpha = bool(decoding.bands)
    if form == NPY:
        return read_array(stream), None
    if form == "TIFF":
        header = read_tiff_header(stream)
        if not probed.mode or probed.is_deep or not probed.is_colour or (probed.alpha and with_alpha):
            return shown_values(stream, header), None
    if probed.is_deep and form == "PPM":
        return _deep_map(stream, probed), None
    image = parsed(form, stream, name, max_pixels=decoding.max_pixels)
    if probed.is_deep and not image.mode.startswith("I"):
        values = _deep_png(stream, image)
        return values, _keyed(values, image)
    if probed.alpha and with_alpha:
        return np.asarray(image), None
    values = colours(image)
    return values, _keyed(values, image) if probed.is_deep else alpha_of(image)


def alpha_of(image: Image.Image) -> np.ndarray | None:
    """(H, W) 0 to 1 of Pillow's image of 8 bits or fewer; None where all is opaque."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        alpha = image.getchannel("A")
    elif "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return None
    return None if alpha.getextrema()[0] == _OPAQUE else np.asarray(alpha) / _OPAQUE


def _keyed(values: np.ndarray, image: Image.Image) -> np.ndarray | None:
    """Alpha of an image of 16 bits of which one colour is transparent (chunk tRNS of a PNG)."""
    key = image.info.get("transparency")
    if key is None or values.shape[2] not in (1, 3):
        return None
    return (values != np.array(key)).any(axis=2).astype(np.float64)


def colours(image: Image.Image) -> np.ndarray:
    """(H, W, 1 or 3) values of Pillow's image, its colours as RGB and without alpha."""
    if image.mode in ("P", "PA"):
        # the detour keeps the colour of a transparent palette entry
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode.startswith("I"):
        return np.asarray(image)[..., None]
    wanted = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    values = np.asarray(image if image.mode == wanted else image.convert(wanted))
    return values.reshape(image.height, image.width, -1)


def _deep_png(stream: BinaryIO, image: Image.Image) -> np.ndarray:
    """16 bits of each value, of which Pillow gives the high byte only."""
    rawmode, _ = stored_as(image)
    if rawmode == "LA;16B":  # as many bytes as RGBA of 8 bits: high and low of grey, then of alpha
        values = np.asarray(_with_rawmode(stream, "RGBA", "RGBA")).astype(np.uint16)
        return (values[..., ::2] << 8) | values[..., 1::2]
    if image.mode not in _HALVES:
        raise Refused(f"PNG has 16 bits in mode {image.mode} ({rawmode}); convert it to grey or RGB")
    high, low = (np.asarray(_with_rawmode(stream, image.mode, raw)) for raw in _HALVES[image.mode])
    return (high.astype(np.uint16) << 8) | low


def _with_rawmode(stream: BinaryIO, mode: str, rawmode: str) -> Image.Image:
    stream.seek(0)
    image = PARSERS["PNG"](stream)
    tile = image.tile[0]
    image._mode = mode
    image.tile = [tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)]
    return image


def _deep_map(stream: BinaryIO, probed: Probe) -> np.ndarray:
    """The values of a PGM or PPM of more than 8 bits, which Pillow scales to its own range."""
    stream.seek(0)
    data = stream.read()
    head = _PPM.match(data)
    if head is None:
        raise ValueError("its header is not that of a PGM or PPM")
    count = probed.height * probed.width * probed.bands
    if head[1] in b"56":
        values = np.frombuffer(data, ">u2", count, head.end())
    else:
        values = np.array(re.sub(rb"#[^\n]*", b"", data[head.end() - 1 :]).split()[:count], np.uint32)
    return values.reshape(probed.height, probed.width, probed.bands)
