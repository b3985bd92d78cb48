"""From one image file to a uint8 tensor; nothing is resized.

- No task sees more than 8 bits, denoising included: what is rounded off 16 bits is 59 dB below white. Which value is
  white is the subject of `depth`.
- Embedded ICC profiles are ignored. Transparent pixels (alpha, entries of a palette or a colour that are transparent)
  are laid on `Decoding.background`; where there is none, alpha is dropped and a remark says so: the network sees the
  colour that is hidden under them.
- EXIF orientation is applied to images unless `Decoding.exif` is "ignore". In a PNG the eXIf chunk counts wherever it
  stands, text that says the same (XMP, "Raw profile type exif") before the pixels only.
"""

import logging
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unpool.data.bands import as_channels, described, require_bands
from unpool.data.depth import Shade, eight_bits, is_exact, named, shade_of
from unpool.data.formats import NPY, SUFFIXES
from unpool.data.image_file import (
    Probe,
    Source,
    Unusable,
    is_deep,
    name_of,
    parsed,
    printable,
    probe,
    recognised,
)
from unpool.data.orientation import orientation_of, turned
from unpool.data.refused import Refused
from unpool.data.remarks import remark
from unpool.data.stack import File
from unpool.data.stored import alpha_of, colours, read_values
from unpool.types import Decoding

HIDDEN = (
    "image with transparent pixels, of which the hidden colour is read and not what a viewer shows: set "
    "data.background=255 (white), another grey or [red, green, blue]"
)
_AT_ONCE = 1 << 18  # pixels laid on the background in floating point at a time
_log = logging.getLogger(__name__)


class Pixels(NamedTuple):
    """A decoded image.

    Attributes:
        image: (channels, H, W) uint8.
        shade: how its values became 8 bits, where they had another range.
    """

    image: Tensor
    shade: Shade | None


def readable(path: File, decoding: Decoding) -> Probe:
    """The header of a file that `decode_image` can read, as far as a header tells.

    Raises:
        Unreadable, Unusable: as `decode_image`.
    """
    probed = probe(path, max_pixels=decoding.max_pixels)
    try:
        require_bands(probed, decoding)
    except Refused as error:
        raise Unusable(printable(path), str(error)) from error
    return probed


def deep_files(decoding: Decoding, *files: tuple[File, Probe]) -> tuple[File, ...]:
    """Of image files, those whose values decide what is white, or may lie beyond what is said to be."""
    return tuple(path for path, probed in files if probed.is_deep and (decoding.range or not is_exact(probed)))


def notes(path: str, probed: Probe, decoding: Decoding) -> tuple[str, ...]:
    """Conversions of this image that its owner may not expect, one sentence a kind."""
    sentences = []
    named = SUFFIXES.get(PurePosixPath(path).suffix.lower())
    if named is not None and named != probed.format:
        sentences.append(f"{probed.format} data in a file named as {named}, read as {probed.format}")
    if probed.frames > 1:
        sentences.append(f"{probed.format} of {probed.frames} frames, only the first is used")
    if decoding.bands:
        chosen = ", ".join(map(str, decoding.bands))
        sentences.append(f"bands {chosen} of {described(probed)} are used, counted from 1")
    elif probed.bands == 1 and decoding.channels == 3:
        sentences.append("grey image, its one channel used for all 3")
    if probed.is_deep:
        sentences.append(_depth_note(probed, decoding))
    if probed.alpha and not decoding.bands:
        laid = "which is dropped" if decoding.background is None else "laid on data.background"
        sentences.append(f"image with an alpha channel, {laid}")
    return (*sentences, *_turn_notes(probed, decoding))


def _turn_notes(probed: Probe, decoding: Decoding) -> list[str]:
    applied = decoding.exif == "apply"
    sentences = [probed.turn_fault] if probed.turn_fault and applied else []
    if probed.orientation != 1:
        sentences.append("EXIF orientation applied" if applied else "EXIF orientation ignored")
    return sentences


def _depth_note(probed: Probe, decoding: Decoding) -> str:
    what = f"{named(probed)}, reduced to 8 bits"
    if decoding.range is not None:
        return f"{what}: {decoding.range[0]:g} to {decoding.range[1]:g}, as data.range says"
    return f"{what}: 0 to {probed.stated[1]:g}, as the file says" if probed.stated else what


def decode_image(source: Source, decoding: Decoding, *, name: str | None = None) -> Tensor:
    """The (first) image of a file; where its range is a guess of this file alone, a warning says so.

    Args:
        source: a path, or the bytes of a file.
        decoding: channels 1 for grey (ITU-R 601 luma), 3 for RGB, for which a grey image is repeated; others as bands.
        name: what errors call it, by default its path.

    Returns:
        (channels, H, W) uint8.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: its format is not enabled, it is too large, its values have no known range, or it has other bands.
    """
    pixels = read_pixels(source, decoding, name=name)
    if pixels.shade is not None and pixels.shade.is_guess:
        _log.warning("%s: %s", name_of(source, name), pixels.shade.sentence)
    return pixels.image


def read_pixels(source: Source, decoding: Decoding, *, name: str | None = None) -> Pixels:
    """The image of a file as `decode_image` gives it, and how its values became 8 bits."""
    if decoding.channels < 1:
        raise ValueError(f"channels is {decoding.channels}; an image has 1 (grey), 3 (RGB) or another number of bands")
    name = name_of(source, name)
    with recognised(source, name) as (form, stream):
        if form not in ("TIFF", NPY) and not decoding.bands and decoding.channels in (1, 3):
            image = parsed(form, stream, name, max_pixels=decoding.max_pixels)
            if not is_deep(image):
                return Pixels(_tensor(_plain(image, stream, decoding)), None)
        values, probed, alpha = read_values(form, stream, name, decoding)
        shade = shade_of(values, probed, decoding)
        values = laid_on(decoding, eight_bits(values, shade.range), alpha, is_associated=probed.is_associated)
        grey = as_channels(values, decoding)
        upright = turned(grey, probed.orientation) if decoding.exif == "apply" else grey
        return Pixels(_tensor(upright), shade if probed.is_deep else None)


def _plain(image: Image.Image, stream: BinaryIO, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) of a file of 8 bits or fewer that Pillow reads as it is meant."""
    turn = orientation_of(image, stream).number if decoding.exif == "apply" else 1
    image.load()
    return turned(pixels_of(image, decoding), turn)


def pixels_of(image: Image.Image, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) uint8 of Pillow's image of 8 bits or fewer, as it lies."""
    alpha = alpha_of(image)
    if alpha is None or decoding.background is None:
        wanted = "L" if decoding.channels == 1 else "RGB"
        if image.mode not in ("P", "PA") and image.mode != wanted:
            image = image.convert(wanted)
    return as_channels(laid_on(decoding, colours(image), alpha), decoding)


def laid_on(
    decoding: Decoding, values: np.ndarray, alpha: np.ndarray | None, *, is_associated: bool = False
) -> np.ndarray:
    """(H, W, bands) uint8 with transparent pixels laid on the background; a remark where there is none.

    Args:
        decoding: with the background.
        values: (H, W, bands) uint8.
        alpha: (H, W) 0 to 1; None where all is opaque.
        is_associated: the values are multiplied by alpha already.
    """
    if alpha is None:
        return values
    if decoding.background is None:
        remark(HIDDEN)
        return values
    colour = np.array(decoding.background, np.float64).reshape(-1)
    if values.shape[2] == 1 and len(set(colour.tolist())) > 1:
        values = np.repeat(values, 3, axis=2)
    if len(colour) == 3 and values.shape[2] not in (1, 3):
        raise Refused(f"image has {values.shape[2]} bands and data.background is a colour: set a grey value")
    laid = np.empty(values.shape, np.uint8)
    rows = max(1, _AT_ONCE // values.shape[1])
    for band in (slice(top, top + rows) for top in range(0, len(values), rows)):
        shares = alpha[band, :, None]
        shown = values[band] if is_associated else values[band] * shares
        laid[band] = np.rint(shown + (1 - shares) * colour[: values.shape[2]]).clip(0, 255)
    return laid


def _tensor(values: np.ndarray) -> Tensor:
    # numpy copies on one thread; torch would wake its whole team in each decoding thread
    return torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))
