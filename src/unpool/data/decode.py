"""From one image file to a uint8 tensor: Pillow decodes and never resizes.

- 16-bit grey becomes 8-bit as round(v / 257); 16-bit RGB keeps the high byte of each channel, as Pillow reads it. No
  task sees more than 8 bits, denoising included: what is rounded off a grey is 59 dB below white.
- Embedded ICC profiles are ignored; an alpha channel is dropped.
- EXIF orientation is applied to images unless `Decoding.exif` is "ignore" (in a PNG where it stands before the pixels).
"""

from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unpool.data.formats import SUFFIXES
from unpool.data.image_file import Probe, Source, Unusable, name_of, opened, orientation
from unpool.types import Decoding


def notes(path: str, probed: Probe, decoding: Decoding) -> tuple[str, ...]:
    """Conversions of this image that its owner may not expect, one sentence a kind."""
    sentences = []
    named = SUFFIXES.get(PurePosixPath(path).suffix.lower())
    if named is not None and named != probed.format:
        sentences.append(f"{probed.format} data in a file named as {named}, read as {probed.format}")
    if probed.frames > 1:
        sentences.append(f"{probed.format} of {probed.frames} frames, only the first is used")
    if probed.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L") and decoding.channels == 3:
        sentences.append("grey image, its one channel used for all 3")
    if probed.mode.startswith("I"):
        sentences.append("16-bit grey image, scaled to 8 bits by v / 257")
    elif probed.bits > 8:
        sentences.append("16-bit colour image, reduced to 8 bits")
    if probed.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        sentences.append("image with an alpha channel, which is dropped")
    if probed.orientation != 1:
        sentences.append("EXIF orientation applied" if decoding.exif == "apply" else "EXIF orientation ignored")
    return tuple(sentences)


def decode_image(source: Source, decoding: Decoding, *, name: str | None = None) -> Tensor:
    """The (first) image of a file.

    Args:
        source: a path, or the bytes of a file.
        decoding: channels 1 for grey (ITU-R 601 luma), 3 for RGB, for which a grey image is repeated.
        name: what errors call it, by default its path.

    Returns:
        (channels, H, W) uint8.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: its format is not enabled, it is too large, or its values have no known range.
    """
    channels = decoding.channels
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; an image has 1 (grey) or 3 (RGB)")
    name = name_of(source, name)
    with opened(source, name) as image:
        is_turned = decoding.exif == "apply" and orientation(image) != 1
        image.load()
        upright = ImageOps.exif_transpose(image) if is_turned else image
        values = _eight_bits(upright, channels, name)
    # numpy copies on one thread; torch would wake its whole team in each decoding thread
    return torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))


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
