"""Pairs of images of a data set, and the disparity or flow from one to the other."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.data.dense_files import LARGEST_FLOW
from unpool.data.plain.levels import image_of
from unpool.errors import DataError, quoted
from unpool.types import Sample

KEYS = ("disparity", "flow")
BESIDE = ("hidden", "other_disparity", "other_hidden")  # what a set may know of its pairs besides
_CHANNELS = (2, 6)  # of both images in one
_AXES = {"flow": 2}


def has_pairs(gives: Collection[str]) -> bool:
    """Whether samples are pairs of images.

    >>> has_pairs(("image", "flow")), has_pairs(("image", "label"))
    (True, False)
    """
    return any(key in gives for key in KEYS)


def picture_of(value: Any, gives: Collection[str]) -> Tensor:
    """(C, H, W) of an image as `image_of` takes it; of pairs both images, the second one's channels behind the first's.

    Args:
        value: an image; where samples are pairs (first, second), or a tensor of both with 2 or 6 channels.
        gives: batch keys that samples have.

    Raises:
        DataError: it is none of these, or the images of a pair have other sizes or kinds of values.

    >>> picture_of((torch.zeros(3, 4, 5), torch.ones(3, 4, 5)), ("image", "flow")).shape
    torch.Size([6, 4, 5])
    """
    if not has_pairs(gives):
        return image_of(value)
    if isinstance(value, list | tuple) and len(value) == 2:
        first, second = (image_of(one) for one in value)
        if (first.shape, first.dtype) != (second.shape, second.dtype):
            kinds = [f"{tuple(one.shape)} {str(one.dtype).removeprefix('torch.')}" for one in (first, second)]
            raise DataError(f"the images of a pair are {kinds[0]} and {kinds[1]}: both must be of one size and kind")
        return torch.cat([first, second])
    image = None if isinstance(value, list | tuple) else image_of(value)
    if image is None or len(image) not in _CHANNELS:
        seen = f"{len(value)} values" if image is None else f"one image {tuple(image.shape)}"
        raise DataError(
            f"the image of a sample is {seen}, and a pair is needed: give (first, second), or a tensor of both with 6 "
            "channels for colour or 2 for grey"
        )
    return image


def matches_of(values: Mapping[str, Any], size_hw: tuple[int, int]) -> Sample:
    """Disparity, flow and what is hidden of one sample, as large as its images.

    Args:
        values: of a sample by batch key; infinity, NaN and flows of 1e9 pixels, as .flo files have them, are not known.
        size_hw: of the images.

    Raises:
        DataError: a value has another shape, a disparity is negative, or no pixel is known.

    >>> matches_of({"disparity": np.full((1, 2), 3.0)}, (1, 2))["disparity"]
    tensor([[3., 3.]])
    """
    sample: Sample = {}
    for key in (*KEYS, *BESIDE):
        if key in values:
            sample[key] = _hidden(key, values[key]) if "hidden" in key else _numbers(key, values[key])
            shape = (*([_AXES[key]] if key in _AXES else []), *size_hw)
            if sample[key].shape != shape:
                raise DataError(
                    f"{key} is {tuple(sample[key].shape)}, and its images ask for {shape}: give one a pixel"
                )
            if key in KEYS and bool(sample[key].isnan().all()):
                raise DataError(f"{key} is known at no pixel of a sample, of which nothing is learned: leave it out")
    return sample


def _numbers(key: str, value: Any) -> Tensor:
    values = _array(key, value).float()
    if key == "flow":
        return values.where((values.abs() < LARGEST_FLOW).all(0, keepdim=True), torch.nan)  # both components or none
    if key not in _AXES and values.dim() == 3 and len(values) == 1:
        values = values[0]
    values = values.where(values.isfinite(), torch.nan)
    if key not in _AXES and bool((values < 0).any()):
        raise DataError(
            f"{key} is {float(values.nan_to_num(0).min()):.6g} somewhere; expected how many pixels further left the "
            "right image shows a point, 0 or more: turn the sign around, or give NaN where it is not known"
        )
    return values


def _hidden(key: str, value: Any) -> Tensor:
    values = _array(key, value)
    if not bool(((values == 0) | (values == 1)).all()):
        raise DataError(f"{key} holds other values than 0 and 1: give 1 where the other image does not show the point")
    return values.bool()


def _array(key: str, value: Any) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise DataError(f"{key} is {quoted(value)}: give an array or a tensor of numbers")
    return torch.tensor(array)
