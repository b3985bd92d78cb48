"""A mean image, which normalises each location by itself, as text that fits in JSON."""

import base64
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unpool.errors import DataError


def pack(mean_image: Tensor) -> str:
    """A mean image (C, H, W) as text: base64 of little-endian float32.

    >>> pack(torch.zeros(1, 1, 2))
    'AAAAAAAAAAA='
    """
    return base64.b64encode(mean_image.detach().cpu().numpy().astype("<f4").tobytes()).decode()


@lru_cache(maxsize=4)
def unpack(text: str, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `pack`, float32.

    Raises:
        ValueError: the text is no base64, or holds another number of values.
    """
    values = np.frombuffer(base64.b64decode(text), "<f4")
    if len(values) != math.prod(shape):
        raise ValueError(f"the mean image has {len(values)} values where {shape} (C, H, W) has {math.prod(shape)}")
    return torch.from_numpy(values.astype(np.float32)).view(shape)


def read(path: Path, shape: tuple[int, int, int]) -> str:
    """The packed mean image of a .npy file.

    Raises:
        DataError: it cannot be read, is no array of numbers of that shape (C, H, W), or holds one that is not finite.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "mean.npy", np.zeros((1, 1, 2)))
    ...     read(Path(folder) / "mean.npy", (1, 1, 2))
    'AAAAAAAAAAA='
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"data.mean_image {path} cannot be read as a .npy file: {error}") from error
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype.kind not in "fiu":
        held = getattr(values, "shape", None)
        raise DataError(f"data.mean_image {path} holds {held}; expected numbers of the shape {shape} (C, H, W)")
    if not np.isfinite(values).all():
        raise DataError(f"data.mean_image {path} holds values that are not finite")
    return pack(torch.from_numpy(values.astype(np.float32)))
