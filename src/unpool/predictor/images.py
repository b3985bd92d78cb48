"""Whatever a caller calls an image, as the uint8 tensor that a reader would have given."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unpool.data.bands import as_channels
from unpool.data.decode import pixels_of, read_pixels
from unpool.data.image_file import printable
from unpool.data.plain import Levels
from unpool.data.plain.levels import image_of
from unpool.data.remarks import collected
from unpool.errors import DataError
from unpool.types import Decoding

ImageLike = str | Path | Image.Image | np.ndarray | Tensor

_log = logging.getLogger(__name__)
_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


def read_image(image: ImageLike, decoding: Decoding, levels: Levels | None = None) -> Tensor:
    """(channels, H, W) uint8.

    Args:
        image: a path; a PIL image; an array uint8, (H, W) or (H, W, C); or a tensor uint8, (H, W) or
            (C, H, W). C is `channels`, 1, or 3 in RGB order where those make grey or colours.
        decoding: all of it applies to files, `exif` and `background` to PIL images; arrays have their bands chosen.
        levels: by which arrays and tensors of other kinds than uint8 are read; None refuses them.

    Raises:
        DataError: the file or the PIL image cannot be used, or values lie beyond the levels.
        TypeError: no image, or values that are not uint8.
        ValueError: an array or tensor of another shape.
    """
    if isinstance(image, str | Path):
        return _from_file(Path(image), decoding)
    if isinstance(image, Image.Image):
        return _from_pil(ImageOps.exif_transpose(image) if decoding.exif == "apply" else image, decoding)
    if levels is not None and isinstance(image, Tensor | np.ndarray) and image.dtype not in (torch.uint8, np.uint8):
        image = _levelled(image_of(image), levels)
    if isinstance(image, Tensor):
        image = _last(image.cpu(), decoding.channels).numpy()
    if isinstance(image, np.ndarray):
        return _from_array(image, decoding.channels)
    raise TypeError(f"{type(image).__name__} is no image: give a path, a PIL image, an array or a tensor")


def read_question(image: ImageLike | Sequence[ImageLike], decoding: Decoding, levels: Levels | None = None) -> Tensor:
    """(channels, H, W) uint8 of one image, or the channels of several of one size behind one another.

    Args:
        image: one, or the images of a pair.
        decoding: of each image.
        levels: as in `read_image`.

    Raises:
        DataError: as `read_image`; or the images of a pair have other sizes.
    """
    if isinstance(image, ImageLike):
        return read_image(image, decoding, levels)
    return joined([read_image(one, decoding, levels) for one in image])


def joined(images: Sequence[Tensor]) -> Tensor:
    """The channels of images (C, H, W) behind one another.

    Raises:
        DataError: they have other sizes.
    """
    sizes = [f"{image.shape[-1]}x{image.shape[-2]}" for image in images]
    if len(set(sizes)) > 1:
        raise DataError(f"images of {' and '.join(sizes)} pixels are asked about as a pair: both must have one size")
    return torch.cat(list(images))


def _from_file(path: Path, decoding: Decoding) -> Tensor:
    with collected() as remarks:
        pixels = read_pixels(path, decoding)
    for sentence in remarks:
        _log.warning("%s: %s", printable(path), sentence)
    if (shade := pixels.shade) is not None and (shade.is_guess or shade.is_cut):
        _log.warning("%s: %s", printable(path), shade.sentence)
    return pixels.image


def _from_pil(image: Image.Image, decoding: Decoding) -> Tensor:
    channels = decoding.channels
    if channels not in (1, 3):
        raise DataError(f"the network takes {channels} bands; give the path of a file, an array or a tensor of them")
    if image.mode not in _EIGHT_BIT_MODES:
        raise DataError(
            f"PIL image has mode {image.mode}; convert it to 8 bits (L or RGB), or give the path of its file"
        )
    with collected() as remarks:
        values = pixels_of(image, decoding)
    for sentence in remarks:
        _log.warning("PIL image: %s", sentence)
    return torch.from_numpy(np.array(values.transpose(2, 0, 1), order="C"))


def _from_array(image: np.ndarray, channels: int) -> Tensor:
    """(channels, H, W) uint8 from (H, W) or (H, W, C)."""
    if image.dtype != np.uint8:
        raise TypeError(f"array of {image.dtype}: expected uint8, 0 to 255; scale and convert it")
    values = image[..., None] if image.ndim == 2 else image
    if values.ndim != 3 or 0 in image.shape or values.shape[2] not in _counts(channels):
        expected = "(H, W), (H, W, 1) or (H, W, 3)" if channels in (1, 3) else f"(H, W, {channels})"
        raise ValueError(f"array of shape {image.shape}: expected one image, {expected}; tensors (C, H, W)")
    channelled = as_channels(values, Decoding(channels=channels))
    return torch.from_numpy(np.array(channelled.transpose(2, 0, 1), order="C"))


def _levelled(image: Tensor, levels: Levels) -> Tensor:
    if levels.mean and len(image) != len(levels.mean):
        raise ValueError(
            f"image of {len(image)} channels: expected {len(levels.mean)}, by whose mean and deviation it is normalised"
        )
    return levels.to_uint8(image)


def _last(image: Tensor, channels: int) -> Tensor:
    """(C, H, W) -> (H, W, C); (H, W) as it is."""
    if image.dtype != torch.uint8:
        raise TypeError(f"tensor of {image.dtype}: expected uint8, 0 to 255; scale and convert it")
    if image.dim() == 2:
        return image
    if image.dim() != 3 or image.shape[0] not in _counts(channels):
        expected = " or ".join(f"({count}, H, W)" for count in sorted(_counts(channels)))
        raise ValueError(f"tensor of shape {tuple(image.shape)}: expected one image, (H, W) or {expected}")
    return image.permute(1, 2, 0)


def _counts(channels: int) -> set[int]:
    """The numbers of channels that an image may have; grey and colours become one another."""
    return {1, 3} if channels in (1, 3) else {channels}
