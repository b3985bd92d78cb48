"""Numbers in text files of annotations, which no locale and no habit of Python's may change."""

import math
import re

FARTHEST = 1_000_000  # pixels; no image is that large
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number_of(text: str) -> float | None:
    """Returns the number that a text is; None of NaN, infinity, a decimal comma, 1_000 and words.

    >>> [number_of(text) for text in (" 12.5", "1e3", "nan", "12,5", "1_000", "9e999")]
    [12.5, 1000.0, None, None, None, None]
    """
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.inf
    return value if math.isfinite(value) else None


def is_position(value: float | None) -> bool:
    """Whether it is a number that can be a coordinate in an image."""
    return value is not None and abs(value) < FARTHEST
