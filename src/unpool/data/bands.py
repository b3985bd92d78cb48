"""Which bands of a file become which channels; none is dropped or repeated that was not asked for."""

import numpy as np
from PIL import Image

from unpool.data.image_file import Probe
from unpool.data.refused import Refused
from unpool.types import Decoding


def choose_bands(values: np.ndarray, probed: Probe, decoding: Decoding) -> np.ndarray:
    """(H, W, bands) as `Decoding.bands` chooses from (H, W, all).

    Raises:
        Refused: the file has other bands than those that are asked for.
    """
    require_bands(probed, decoding)
    if decoding.bands is None:
        return values
    return values[..., [band - 1 for band in decoding.bands]]


def require_bands(probed: Probe, decoding: Decoding) -> None:
    """Raises Refused where the bands of a file do not make the channels that are asked for."""
    count, channels = probed.bands, decoding.channels
    if decoding.bands is not None:
        if (most := max(decoding.bands)) > count:
            raise Refused(f"image has {_bands(count)} and data.bands asks for number {most}, counted from 1")
        count = len(decoding.bands)
    if count == channels or (count == 1 and channels == 3):
        return
    if count == 3 and channels == 1 and probed.is_colour:
        return
    every = list(range(1, channels + 1))
    choose = f"data.bands={every} or others, counted from 1" if channels < count else f"data.bands={every[:count]}"
    raise Refused(
        f"image has {_bands(count)} and data.channels is {channels}: "
        + (f"choose {choose}, or set data.channels={count}" if channels < count else f"set data.channels={count}")
    )


def as_channels(values: np.ndarray, decoding: Decoding) -> np.ndarray:
    """(H, W, channels) uint8 from (H, W, bands) uint8: grey repeated for three, colours to their luma for one."""
    count, channels = values.shape[2], decoding.channels
    if count == channels:
        return values
    if count == 1:
        return np.repeat(values, channels, axis=2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(values)).convert("L"))[..., None]


def _bands(count: int) -> str:
    return f"{count} band{'s' if count > 1 else ''}"
