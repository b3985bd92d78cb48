"""EXIF orientation of the values of an image."""

import numpy as np


def turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) values as EXIF orientation 1 to 8 says they are to be seen; others turn nothing.

    >>> turned(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return values[::rows, ::columns]
