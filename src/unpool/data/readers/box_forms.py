"""The forms in which four numbers are a box, and which of them the boxes of a set fit.

A file of another form than its reader takes it for has boxes without extent, beside their image or beyond it; it is
refused, with the form that fits, rather than trained on what is left of it.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

SLACK = 1.0  # pixels beyond the image that are clipped in silence: annotators and exports round
LEAST = 20  # boxes, from which on a share of them says something of the set
SHARE = 0.1  # of the boxes that may be doubtful
COVERED = 0.005  # of its box, the least that a thing covers: a line of a pixel through 200x200 covers more
MORE = 1.1  # times its box, the most that a thing is said to cover
_SIDE = 8  # pixels; an image of less may have boxes of one pixel alone

CORNERS = "left, top, right, bottom"
SIZES = "left, top, width, height"
CENTRES = "centre x, centre y, width, height"
# (4, 4) of each form: numbers @ matrix = left, top, right, bottom
_MATRICES: Mapping[str, NDArray[np.float64]] = MappingProxyType(
    {
        CORNERS: np.eye(4),
        SIZES: np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]], float),
        CENTRES: np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], float),
        "left, right, top, bottom": np.eye(4)[[0, 2, 1, 3]],
    }
)


def doubt_of(boxes: NDArray[np.floating], ends: NDArray[np.floating], form: str) -> str:
    """Returns why the boxes of a set are not what they were taken for, with what to do; empty where they may be.

    Args:
        boxes: (N, 4) left, top, right, bottom, as `form` gives them.
        ends: (N, 2) width and height of the image of each.
        form: that the numbers in the files were taken for.

    >>> doubt_of(np.tile([9.0, 9.0, 4.0, 5.0], (20, 1)), np.tile([64, 48], (20, 1)), CORNERS)
    '20 of 20 boxes fit no image as left, top, right, bottom, and all do as left, top, width, height: write the former'
    """
    large = boxes[(ends >= _SIDE).all(1)]
    if 0 < np.abs(large).max(initial=0) <= 1:
        problem = "all boxes are numbers up to 1, fractions of the image; expected pixels"
        return f"{problem}: multiply x by the width of the image, y by its height"
    most, odd = SHARE * len(boxes), int((~fit(boxes, ends)).sum())
    if len(boxes) < LEAST or odd <= most:
        return ""
    others = other_forms(boxes, ends, form)
    if others:
        return f"{odd} of {len(boxes)} boxes fit no image as {form}, and all do as {others[0]}: write the former"
    if (lost := int((~_shows(boxes, ends)).sum())) > most:
        problem = f"{lost} of {len(boxes)} boxes have no extent as {form}, or lie beside their image"
        return f"{problem}: check how they and the sizes of their images were exported"
    return ""  # boxes of things that the border cuts may reach beyond it; they are clipped


def other_forms(boxes: NDArray[np.floating], ends: NDArray[np.floating], form: str) -> list[str]:
    """Returns the forms that all boxes fit their images in; arguments as of `doubt_of`.

    >>> other_forms(np.array([[50.0, 3.0, 9.0, 20.0]]), np.array([[64, 48]]), CORNERS)
    ['left, top, width, height']
    """
    numbers = boxes @ np.linalg.inv(_MATRICES[form])
    return [other for other, matrix in _MATRICES.items() if fit(numbers @ matrix, ends).all()]


def odd_areas(areas: NDArray[np.floating], sides: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Returns (N,) whether areas (N,) are those of no thing in boxes of these sides (N, 2), as 0, 1 or those of others.

    >>> odd_areas(np.array([0.0, 300.0, 9000.0]), np.tile([20.0, 24.0], (3, 1))).tolist()
    [True, False, True]
    """
    most = MORE * (sides + SLACK).prod(1)
    return (sides > 0).all(1) & ((areas < COVERED * sides.prod(1)) | (areas > most))


def most_are_odd(odd: int, count: int) -> bool:
    """Whether so many of a set are odd that they are no slips: more than a tenth of many, or all of a few.

    >>> most_are_odd(3, 20), most_are_odd(2, 20), most_are_odd(3, 3), most_are_odd(2, 3)
    (True, False, True, False)
    """
    return odd > (SHARE * count if count >= LEAST else max(count - 1, 0))


def fit(boxes: NDArray[np.floating], ends: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Returns (N,) whether boxes have an extent and lie on their image."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.all((high > low) & (low >= -SLACK) & (high <= ends + SLACK), axis=1)


def _shows(boxes: NDArray[np.floating], ends: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Returns (N,) whether boxes have an extent and a part on their image."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.all((high > low) & (high > 0) & (low < ends), axis=1)
