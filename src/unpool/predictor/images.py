"""Whatever a caller calls an image, as the uint8 tensor that a reader would have given."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from unpool.data.decode import decode_image
from unpool.errors import DataError
from unpool.types import Decoding

ImageLike = str | Path | Image.Image | np.ndarray | Tensor

_EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV")


def read_image(image: ImageLike, decoding: Decoding) -> Tensor:
    """(channels, H, W) uint8.

    Args:
        image: a path; a PIL image (alpha dropped); an array (H, W), (H, W, 1) or
            (H, W, 3) uint8 in RGB order; or a tensor (H, W), (1, H, W) or (3, H, W) uint8.
        decoding: applies to files and PIL images.

    Raises:
        DataError: the file or the PIL image cannot be used.
        TypeError: no image, or values that are not uint8.
        ValueError: an array or tensor of another shape.
    """
    if isinstance(image, str | Path):
        return decode_image(Path(image), decoding)
    if isinstance(image, Image.Image):
        return _from_pil(ImageOps.exif_transpose(image) if decoding.exif == "apply" else image, decoding.channels)
    if isinstance(image, Tensor):
        image = _last(image.cpu(), image).numpy()
    if isinstance(image, np.ndarray):
        return _from_pil(_from_array(image), decoding.channels)
    raise TypeError(f"{type(image).__name__} is no image: give a path, a PIL image, an array or a tensor")


def _from_pil(image: Image.Image, channels: int) -> Tensor:
    if image.mode not in _EIGHT_BIT_MODES:
        raise DataError(
            f"PIL image has mode {image.mode}; convert it to 8 bits (L or RGB), or give the path of its file"
        )
    if image.mode in ("P", "PA"):
        # the detour keeps a transparent palette entry's own colour
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    values = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(values.reshape(image.height, image.width, channels)).permute(2, 0, 1).contiguous()


def _from_array(image: np.ndarray) -> Image.Image:
    if image.dtype != np.uint8:
        raise TypeError(f"array of {image.dtype}: expected uint8, 0 to 255; scale and convert it")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or 0 in image.shape or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(
            f"array of shape {image.shape}: expected one image, (H, W), (H, W, 1) or (H, W, 3); tensors (C, H, W)"
        )
    return Image.fromarray(np.ascontiguousarray(image))


def _last(values: Tensor, image: Tensor) -> Tensor:
    """(C, H, W) -> (H, W, C); (H, W) as it is."""
    if values.dtype != torch.uint8:
        raise TypeError(f"tensor of {image.dtype}: expected uint8, 0 to 255; scale and convert it")
    if values.dim() == 2:
        return values
    if values.dim() != 3 or values.shape[0] not in (1, 3):
        raise ValueError(f"tensor of shape {tuple(image.shape)}: expected one image, (H, W), (1, H, W) or (3, H, W)")
    return values.permute(1, 2, 0)
