"""From one image file to a uint8 tensor; nothing is resized.

- No task sees more than 8 bits, denoising included: what is rounded off 16 bits is 59 dB below white. Which value is
  white is the subject of `depth`.
- Embedded ICC profiles are ignored; an alpha channel is dropped.
- EXIF orientation is applied to images unless `Decoding.exif` is "ignore". In a PNG the eXIf chunk counts wherever it
  stands, text that says the same (XMP, "Raw profile type exif") before the pixels only.
"""

import logging
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
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
    orientation,
    parsed,
    printable,
    probe,
    recognised,
)
from unpool.data.orientation import turned
from unpool.data.refused import Refused
from unpool.data.stack import File
from unpool.data.stored import colours, read_values
from unpool.types import Decoding

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
    probed = probe(path)
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
        sentences.append("image with an alpha channel, which is dropped")
    if probed.orientation != 1:
        sentences.append("EXIF orientation applied" if decoding.exif == "apply" else "EXIF orientation ignored")
    return tuple(sentences)


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
            image = parsed(form, stream, name)
            if not is_deep(image):
                return Pixels(_tensor(_plain(image, stream, decoding)), None)
        values, probed = read_values(form, stream, name, decoding)
        shade = shade_of(values, probed, decoding)
        grey = as_channels(eight_bits(values, shade.range), decoding)
        upright = turned(grey, probed.orientation) if decoding.exif == "apply" else grey
        return Pixels(_tensor(upright), shade if probed.is_deep else None)


def _plain(image: Image.Image, stream: BinaryIO, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) of a file of 8 bits or fewer that Pillow reads as it is meant."""
    is_turned = decoding.exif == "apply" and orientation(image, stream) != 1
    image.load()
    upright = ImageOps.exif_transpose(image) if is_turned else image
    wanted = "L" if decoding.channels == 1 else "RGB"
    if upright.mode not in ("P", "PA") and upright.mode != wanted:
        upright = upright.convert(wanted)
    return as_channels(colours(upright), decoding)


def _tensor(values: np.ndarray) -> Tensor:
    # numpy copies on one thread; torch would wake its whole team in each decoding thread
    return torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))
