"""Which values are black and white in files of more than 8 bits, signed values or floating point.

The file says so: BitsPerSample of 9 to 15, or a MaxSampleValue of n full bits (TIFF), sBIT (PNG), the largest value in
the header (PGM). Else the set does: one range for all, from 0 to the smallest 2^n - 1, n at least 8, that holds every
value of the training split. `data.range` overrules both. Files of 8 bits or fewer have a range of their own.
"""

from typing import NamedTuple

import numpy as np

from unpool.data.image_file import Probe
from unpool.data.refused import Refused
from unpool.types import Decoding, Range

_DARK = 16  # a file that stays below this part of the range may have fewer bits than the others
OPTION = "set data.range=[black, white] (predict: --range BLACK WHITE)"


class Shade(NamedTuple):
    """How values become 8 bits.

    Attributes:
        range: the values that become 0 and 255; beyond, values are cut off.
        sentence: says which, why, and what was cut off.
        is_guess: neither file nor set nor user says the range; it is that of this file alone.
        is_cut: there are values beyond.
        doubt: that the values stay so low that the range of other files may not be theirs; empty where they do not.
    """

    range: Range
    sentence: str
    is_guess: bool = False
    is_cut: bool = False
    doubt: str = ""


def named(probed: Probe) -> str:
    """The kind of values of a file, such as "signed 32-bit values"."""
    return f"{ {'u': '', 'i': 'signed ', 'f': 'floating point '}[probed.kind] }{probed.bits}-bit values"


def smallest_range(most: float) -> Range:
    """From 0 to the smallest 2^n - 1, n at least 8, that is not below `most`.

    >>> smallest_range(200), smallest_range(4071), smallest_range(65535)
    ((0, 255), (0, 4095), (0, 65535))
    """
    return 0, 2 ** max(8, int(most).bit_length()) - 1


def shade_of(values: np.ndarray, probed: Probe, decoding: Decoding) -> Shade:
    """How the stored values of a file become 8 bits.

    Raises:
        Refused: the values are not finite; or negative or fractions, and no `data.range` says what they mean.
    """
    if not probed.is_deep:
        return _inverted(Shade((0, 2**probed.bits - 1), ""), probed)
    low, high = extremes(values, probed)
    if decoding.range is not None:
        black_white, why = decoding.range, "as data.range says"
    elif stated := _stated(values, probed):
        black_white, why = stated, "as the file says"
    else:
        require_whole(low, high, probed)
        black_white, why = decoding.set_range or smallest_range(high), "the range found in the set"
    is_guess = not (decoding.range or decoding.set_range or _stated(values, probed))
    if is_guess:
        why = f"the smallest 2^n - 1 that holds the values of this file, to {high:g}; {OPTION} to fix it"
    text = f"{named(probed)} read as {black_white[0]:g} to {black_white[1]:g}, {why}"
    is_cut = low < black_white[0] or high > black_white[1]
    if is_cut:
        text += f"; it has values {low:g} to {high:g}, cut off there: {OPTION} if they count"
    doubt = doubt_of(high, black_white[1]) if decoding.range is None and needs_range(probed) else ""
    return _inverted(Shade(black_white, text, is_guess, is_cut, doubt), probed)


def doubt_of(most: float, white: float) -> str:
    """A sentence where the largest value of a file stays far below what is white in others; empty elsewhere.

    >>> doubt_of(4095, 4095), doubt_of(255, 4095)[:47]
    ('', 'values stay below 255.938, where white is 4095:')
    """
    if not 0 < most <= white / _DARK:
        return ""
    problem = f"values stay below {white / _DARK:g}, where white is {white:g}"
    return f"{problem}: if these files have fewer bits than the others, convert them"


def extremes(values: np.ndarray, probed: Probe) -> Range:
    """The smallest and the largest value; raises Refused where one is not finite."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise Refused("image holds NaN or infinite values; replace them, and save it again")
    return low, high


def require_whole(low: float, high: float, probed: Probe) -> None:
    """Raises Refused for values of which no set can tell what is white."""
    if probed.kind == "f":
        problem = f"image has {probed.bits}-bit float values of unknown range, {low:g} to {high:g} here"
        raise Refused(f"{problem}: {OPTION}, or convert it to 8 or 16 bits")
    if low < 0:
        raise Refused(f"image has values {low:g} to {high:g}, of which black is not known: {OPTION}")


def needs_range(probed: Probe) -> bool:
    """Whether nothing in the file says what is white."""
    return probed.is_deep and probed.stated is None and not probed.significant


def is_exact(probed: Probe) -> bool:
    """Whether no value of the file can lie beyond the range that the file states."""
    return probed.stated is not None and probed.stated[1] >= 2**probed.bits - 1


def eight_bits(values: np.ndarray, black_white: Range) -> np.ndarray:
    """uint8 of the same shape: 0 for black, 255 for white, rounded between, cut off beyond."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        return _scaled(np.arange(2 ** (8 * values.dtype.itemsize)), black_white)[values]
    return _scaled(values, black_white)


def _scaled(values: np.ndarray, black_white: Range) -> np.ndarray:
    black, white = black_white
    low, high = min(black_white), max(black_white)
    return np.rint((values.astype(np.float64).clip(low, high) - black) * (255 / (white - black))).astype(np.uint8)


def _stated(values: np.ndarray, probed: Probe) -> Range | None:
    if probed.stated is not None or not probed.significant:
        return probed.stated
    # the specification wants values scaled to all bits, and many writers leave them as they are
    bits = probed.significant
    if int(values.max()) >= 2**bits:
        return 0, 65535
    scaled = np.rint((values >> (16 - bits)) * (65535 / (2**bits - 1)))
    return (0, 65535) if (np.abs(values - scaled) <= 1).all() else (0, 2**bits - 1)


def _inverted(shade: Shade, probed: Probe) -> Shade:
    black, white = shade.range
    return shade._replace(range=(white, black)) if probed.is_white_zero else shade
