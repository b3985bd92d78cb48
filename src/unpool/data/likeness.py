"""Perceptual hash of a picture, by which copies of it are searched, and the closer look that decides on a candidate.

The hash is pHash (Krawetz 2011, "Looks Like It") as the package imagehash computes it: luma at 32x32 by Lanczos, a
cosine transform, and for each of the 8x8 lowest waves whether it is above their median. The mirror image has the same
waves, each odd one across with the other sign, so that its hash costs no second look at the pixels. Of pictures above
`_LARGE` pixels blocks are averaged before Lanczos, which changes 2 of the 64 bits of one picture in 25. A picture with
a side below 32 pixels holds no more than its pixels, so that its hash is one of those, exactly.

Two pictures are copies where their luma at 32x32 differs by no more than JPEG quality 50 at half the size makes of it,
anywhere. Neighbouring frames of a video, photographs of one person and digits differ by more in one place at least.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

DISTANCE = 4  # bits in which the hashes of two copies may differ
_SIDE, _LOW = 32, 8
_LARGE = 1 << 18  # pixels
_BLOCKS_A_SIDE = 8
_LARGEST_DIFFERENCE = 7.5  # of 255, root mean square in the worst of 8x8 blocks
_LEAST_CORRELATION = 0.995
_FLAT = 4.0  # deviation of 255 below which a picture shows nothing
_WAVES = 2 * np.cos(np.pi * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE))  # (8, 32) DCT-II
_MIRRORED = np.where(np.arange(_LOW) % 2, -1.0, 1.0)  # sign of each wave across in the mirror image


class Likeness(NamedTuple):
    """Hashes of a picture and of its mirror image, 64 bits each."""

    upright: int
    mirrored: int


def hashes_of(image: Tensor) -> Likeness:
    """Returns the perceptual hashes of an image (C, H, W) uint8.

    Example:
        >>> import torch
        >>> ramp = torch.arange(64, dtype=torch.uint8).expand(3, 48, 64)
        >>> hashes_of(ramp).mirrored == hashes_of(ramp.flip(-1)).upright
        True
    """
    if min(image.shape[-2:]) < _SIDE:
        return Likeness(_hash_of_pixels(image), _hash_of_pixels(image.flip(-1)))
    gap = 4.0 if image.shape[-2] * image.shape[-1] > _LARGE else None
    small = _luma(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=gap)
    waves = _WAVES @ np.asarray(small, np.float64) @ _WAVES.T  # (8, 8)
    return Likeness(_hash(waves), _hash(waves * _MIRRORED))


def thumbnail(image: Tensor) -> NDArray[np.uint8]:
    """Returns the luma (32, 32) uint8 of an image (C, H, W) uint8, as `are_copies` compares it."""
    return np.asarray(_luma(image).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def are_flat(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns which of the thumbnails (N, 32, 32) show nothing, so that being equal says nothing of them."""
    return thumbnails.std((1, 2)) < _FLAT


def are_copies(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Returns for each pair of thumbnails, (N, 32, 32) both, whether they show the same picture; flat ones do not."""
    one, two = (part - part.mean((1, 2), keepdims=True, dtype=np.float32) for part in (first, second))
    side = _SIDE // _BLOCKS_A_SIDE
    squares = ((one - two) ** 2).reshape(-1, _BLOCKS_A_SIDE, side, _BLOCKS_A_SIDE, side)
    difference = np.sqrt(squares.mean((2, 4)).max((1, 2)))
    norms = np.sqrt((one**2).sum((1, 2)) * (two**2).sum((1, 2)))
    correlates = (one * two).sum((1, 2)) >= _LEAST_CORRELATION * norms
    return correlates & (difference <= _LARGEST_DIFFERENCE) & ~are_flat(first) & ~are_flat(second)


def _luma(image: Tensor) -> Image.Image:
    """Returns the image in grey: the luma of RGB, of any other number of channels the mean."""
    if len(image) == 3:
        return Image.merge("RGB", [Image.fromarray(band) for band in image.numpy()]).convert("L")
    return Image.fromarray((image[0] if len(image) == 1 else image.float().mean(0).byte()).numpy())


def _hash(waves: NDArray[np.float64]) -> int:
    middle = np.partition(waves, (31, 32), axis=None)[31:33].mean()  # the median
    return int.from_bytes(np.packbits(waves > middle).tobytes())


def _hash_of_pixels(image: Tensor) -> int:
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(image.contiguous().numpy().tobytes())
    return int.from_bytes(digest.digest()[:8])
