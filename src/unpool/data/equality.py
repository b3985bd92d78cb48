"""Equality of what a data set gives: tensors, arrays, pictures and numbers, in tuples, lists and dicts."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def content_of(value: Any) -> Any:
    """What is equal for values of equal content, also where that is NaN.

    >>> content_of({"label": [1, float("nan")]}) == content_of({"label": [1, float("nan")]})
    True
    """
    if isinstance(value, Mapping):
        return {key: content_of(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [content_of(one) for one in value]
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        return str(value.dtype), tuple(value.shape), zlib.crc32(data)
    if isinstance(value, np.ndarray | np.generic | Image.Image):
        size = value.size if isinstance(value, Image.Image) else value.shape
        return size, zlib.crc32(value.tobytes())
    return repr(value)
