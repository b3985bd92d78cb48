"""EXIF orientation of the values of an image."""

import numpy as np

_BACK = {6: 8, 8: 6}  # the orientation that undoes another; the rest undo themselves


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


def turned_back(values: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `turned`.

    >>> turned_back(turned(np.array([[1, 2], [3, 4]]), 6), 6).tolist()
    [[1, 2], [3, 4]]
    """
    return turned(values, _BACK.get(orientation, orientation))
