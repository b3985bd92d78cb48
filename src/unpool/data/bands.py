"""Which bands of a file become which channels; none is dropped or repeated that was not asked for.

Bands asked for by number are counted with alpha, which some writers make of a fourth band; else alpha is left out.
"""

import numpy as np
from PIL import Image

from unpool.data.image_file import Probe
from unpool.data.refused import Refused
from unpool.types import Decoding


def choose_bands(values: np.ndarray, probed: Probe, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) as `Decoding.bands` chooses from (H, W, samples); alpha may be missing where none is chosen."""
    if decoding.bands is not None:
        return values[..., [band - 1 for band in decoding.bands]]
    if values.shape[2] == probed.bands:
        return values
    return np.delete(values, [number - 1 for number in probed.alpha], axis=2)


def require_bands(probed: Probe, decoding: Decoding) -> None:
    """Raises Refused where the bands of a file do not make the channels that are asked for."""
    count, channels, every = probed.bands, decoding.channels, probed.bands + len(probed.alpha)
    most = max(decoding.bands or (0,))
    if probed.format == "TIFF" and probed.frames > 1 == every and _asks_for_pages(probed.frames, decoding):
        problem = f"TIFF has {probed.frames} pages of 1 band, and pages are not read as bands of one image"
        raise Refused(f"{problem}: save them as samples of one page, or as .npy of shape (H, W, C)")
    if most > every:
        raise Refused(f"image has {described(probed)} and data.bands asks for number {most}, counted from 1")
    count = len(decoding.bands or ()) or count
    if count == channels or (count == 1 and channels == 3):
        return
    if count == 3 and channels == 1 and probed.is_colour:
        return
    raise Refused(f"image has {described(probed)} and data.channels is {channels}: {_advice(probed, count, channels)}")


def described(probed: Probe) -> str:
    """The bands of a file, such as "3 bands and an alpha channel (number 4)"."""
    text = f"{probed.bands} band{'s' if probed.bands > 1 else ''}"
    if not probed.alpha:
        return text
    numbers = ", ".join(map(str, probed.alpha))
    return f"{text} and an alpha channel (number {numbers})"


def as_channels(values: np.ndarray, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) uint8 from (H, W, bands) uint8: grey repeated for three, colours to their luma for one."""
    count, channels = values.shape[2], decoding.channels
    if count == channels:
        return values
    if count == 1:
        return np.repeat(values, channels, axis=2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))[..., None]


def _asks_for_pages(pages: int, decoding: Decoding) -> bool:
    """Whether the bands that are asked for may be the pages of a grey file."""
    if decoding.bands is not None:
        return max(decoding.bands) > 1
    return decoding.channels not in (1, 3) or decoding.channels == pages


def _advice(probed: Probe, count: int, channels: int) -> str:
    every = range(1, probed.bands + len(probed.alpha) + 1)
    bands = [number for number in every if number not in probed.alpha]
    if channels < count:
        return f"choose data.bands={bands[:channels]} or others, counted from 1, or set data.channels={count}"
    if channels == len(every):
        return f"set data.bands={list(every)} to take alpha for a band, or data.channels={count}"
    return f"set data.channels={count}"
