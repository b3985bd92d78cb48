"""Masks as run lengths in COCO's form: numbers of pixels outside and inside by turns, column after column.

A segmentation is {"size": [height, width], "counts": runs}: a list of numbers, or letters. In letters each run from the
fourth on stands as its difference from the one two before it, in groups of five bits, the lowest first; a sixth bit
says that another group follows, and 48 makes a letter of it. What a file holds is checked before it is drawn.

Source: cocodataset.org, "Data format"; rleToString of pycocotools 2.0, common/maskApi.c.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.errors import DataError, quoted

_FIRST = 48  # the letter of a group of zeros
_FOLLOWS, _SIGN, _LOW = 32, 16, 31  # bits of a group: another follows; of the last: the number is negative; all five
_GROUPS = 7  # of a number: 35 bits, more than any image has pixels


def encode_rle(mask: Tensor) -> dict[str, Any]:
    """Returns the segmentation of a mask (H, W), in letters, as COCO's results have it.

    Example:
        >>> encode_rle(torch.tensor([[False, True, True], [False, True, False]]))
        {'size': [2, 3], 'counts': '231'}
    """
    pixels = mask.detach().cpu().bool().T.reshape(-1).numpy()
    changes = np.flatnonzero(np.diff(pixels, prepend=False))
    runs = np.diff(changes, prepend=0, append=len(pixels))
    return {"size": list(mask.shape), "counts": _to_letters(runs)}


def decode_rle(segmentation: Any, size_hw: Sequence[int]) -> Tensor:
    """Returns the mask (H, W) bool of a segmentation as it stands in a file, its runs as a list or in letters.

    Args:
        segmentation: of any kind; only {"size": [H, W], "counts": runs that fill the image} is drawn.
        size_hw: H, W of the image.

    Raises:
        DataError: the segmentation is anything else; says what it is.

    Example:
        >>> decode_rle({"size": [2, 3], "counts": [2, 3, 1]}, (2, 3)).int().tolist()
        [[0, 1, 1], [0, 1, 0]]
    """
    height, width = size_hw
    runs = checked_runs(segmentation, height, width)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return torch.from_numpy(np.ascontiguousarray(inside.reshape(width, height).T))


def checked_runs(segmentation: Any, height: int, width: int) -> NDArray[np.int64]:
    """Returns the numbers of pixels outside and inside by turns, which fill an image, column after column.

    Raises:
        DataError: the segmentation, of any kind, is no such run lengths; says what it is.

    Example:
        >>> checked_runs({"size": [2, 3], "counts": "231"}, 2, 3).tolist()
        [2, 3, 1]
    """
    if not isinstance(segmentation, Mapping):
        raise DataError(f"run lengths are {quoted(segmentation)}; expected an object with size and counts")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise DataError(f"run lengths have size {quoted(size)}; their image is {height} high and {width} wide")
    pixels = height * width
    if isinstance(counts, str | bytes):
        runs = _from_letters(counts, pixels)
    elif isinstance(counts, list | tuple):
        runs = _from_list(counts, pixels)
    else:
        raise DataError(f"run lengths have counts {quoted(counts)}; expected a list of numbers or a string")
    if (runs < 0).any() or runs.sum() != pixels:
        raise DataError(
            f"run lengths cover {runs.sum()} pixels, the shortest {runs.min(initial=0)}; expected none below 0, "
            f"together the {pixels} of an image {height} high and {width} wide"
        )
    return runs


def _from_list(counts: Sequence[Any], pixels: int) -> NDArray[np.int64]:
    for position, run in enumerate(counts):
        if type(run) is not int or not 0 <= run <= pixels:
            raise DataError(f"run {position + 1} is {quoted(run)}; expected a whole number from 0 to {pixels}")
    return np.array(counts, np.int64)


def _from_letters(counts: str | bytes, pixels: int) -> NDArray[np.int64]:
    data = counts if isinstance(counts, bytes) else counts.encode("utf-8", "surrogatepass")
    letters = np.frombuffer(data, np.uint8) - np.uint8(_FIRST)
    foreign = np.flatnonzero(letters >= 2 * _FOLLOWS)  # below "0" they wrapped around
    if len(foreign):
        first = int(foreign[0])
        raise DataError(f'run lengths have {data[first : first + 1]!r} as letter {first + 1}; expected "0" to "o"')
    last = np.flatnonzero(letters < _FOLLOWS)
    if not len(last) or last[-1] != len(letters) - 1:
        raise DataError(f"run lengths {quoted(counts)} are cut off within a number; write them anew")
    groups = np.diff(last, prepend=-1)
    if len(last) > pixels + 1 or groups.max() > _GROUPS:
        raise DataError(
            f"run lengths have {len(last)} numbers of up to {groups.max()} letters; the {pixels} pixels of their image "
            f"have at most {pixels + 1} runs of {_GROUPS} letters"
        )
    return _undifferenced(_numbers(letters, last, groups))


def _numbers(letters: NDArray[np.uint8], last: NDArray[np.intp], groups: NDArray[np.intp]) -> NDArray[np.int64]:
    """Returns the number that ends with each last letter and has so many groups."""
    first = last - groups + 1
    power = 5 * (np.arange(len(letters)) - first.repeat(groups))
    numbers = np.add.reduceat((letters & _LOW).astype(np.int64) << power, first)
    is_negative = (letters[last] & _SIGN).astype(bool)
    return numbers - (is_negative.astype(np.int64) << (5 * groups))


def _undifferenced(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    runs = numbers.copy()
    for first in (1, 2):
        runs[first::2] = numbers[first::2].cumsum()
    return runs


def _to_letters(runs: NDArray[np.int64]) -> str:
    numbers = runs.copy()
    numbers[3:] -= runs[1:-2]
    position = np.arange(_GROUPS)
    rest = numbers[:, None] >> (5 * position)  # (runs, groups)
    bits = rest & _LOW
    is_whole = rest >> 5 == -(bits >= _SIGN).astype(np.int64)  # what follows repeats the sign
    last = is_whole.argmax(1)[:, None]
    letters = bits + _FOLLOWS * (position < last) + _FIRST
    return letters[position <= last].astype(np.uint8).tobytes().decode("ascii")
