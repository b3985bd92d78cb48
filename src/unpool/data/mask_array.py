"""Masks that NumPy saved: ids in an .npy file."""

import numpy as np

from unpool.data.image_file import Probe, Unreadable, Unusable, check_size, printable
from unpool.data.stack import File, mapped_array
from unpool.types import MOST_PIXELS

SUFFIX = ".npy"
ONE_PAGE = (
    "a mask is one page of ids: join pages of one class each, as stack.argmax(0) does where each pixel "
    "is set in one of them, and save that"
)
_MOST = 65535


def is_array(path: File) -> bool:
    """Whether the name is that of an array of NumPy."""
    return path.suffix.lower() == SUFFIX


def probe_array(path: File, *, max_pixels: int = MOST_PIXELS) -> Probe:
    """The header of an .npy mask; raises as `read_array`, but for the values."""
    values = _opened(path, max_pixels)
    return Probe(values.shape[0], values.shape[1], "NPY", "I", 1, 1)


def read_array(path: File, *, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """The ids of an .npy mask of shape (H, W) or (H, W, 1), integer or bool.

    Returns:
        (H, W) int32.

    Raises:
        Unreadable: the file is damaged or cannot be read.
        Unusable: it is pickled, a stack, has fractions, or ids beyond 0 to 65535.
    """
    values = np.asarray(_opened(path, max_pixels))
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _MOST:
        raise Unusable(printable(path), f"mask has ids {low} to {high}; expected 0 to {_MOST}").of("data.label_range")
    return values.astype(np.int32)


def _opened(path: File, max_pixels: int) -> np.ndarray:
    """(H, W) ids, mapped from the file."""
    values = _mapped(path, printable(path))
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if problem := _problem(values):
        raise Unusable(printable(path), problem)
    check_size(values.shape[0], values.shape[1], printable(path), max_pixels=max_pixels)
    return values


def _mapped(path: File, name: str) -> np.ndarray:
    try:
        values = mapped_array(path)
    except OSError as error:
        raise Unreadable(name, f"cannot read ({error.strerror or error})") from error
    except (ValueError, EOFError) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise Unusable(name, "array holds Python objects, which are not loaded; save ids as integers") from error
        raise Unreadable(name, f"damaged .npy file: {error}") from error
    if not isinstance(values, np.ndarray):
        raise Unusable(name, "file is no .npy array but an archive; save one array of ids with np.save")
    return values


def _problem(values: np.ndarray) -> str | None:
    if values.dtype.kind not in "bui":
        return f"mask holds {values.dtype}; ids are integers: save mask.astype(np.uint8)"
    if values.ndim == 3 and values.shape[2] in (3, 4):
        return f"mask has shape {values.shape}, colours or a page a class; save ids, as mask.argmax(2) of pages"
    if values.ndim == 3:
        return f"mask has shape {values.shape}, a stack; {ONE_PAGE}"
    if values.ndim != 2 or not values.size:
        return f"mask has shape {values.shape}; expected (height, width)"
    return None
