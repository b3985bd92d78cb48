"""Reads lists and annotations whole, up to a limit that is checked before."""

from pathlib import Path

from unpool.data.image_file import printable
from unpool.errors import DataError, EnvironmentFault
from unpool.machine import free_bytes

MOST_LISTED = 256 << 20  # bytes of a list of names: four million of 64 letters
MOST_CLASSES = 1 << 20  # bytes of a list of classes
MOST_ANNOTATED = 2 << 30  # bytes of annotations; COCO's largest file of people has 0.25 GB
_AS_OBJECTS = 8  # times the size of a JSON file that its objects need; measured: 6.5


def read_text(path: Path, *, errors: str = "strict", most: int = MOST_LISTED) -> str:
    """Returns the text of a file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: the file is larger than `most` bytes.
        UnicodeDecodeError: it is no UTF-8, unless `errors` allows it.
    """
    require_below(path, most)
    return path.read_text(encoding="utf-8-sig", errors=errors)


def read_json_text(path: Path) -> str:
    """Returns the text of a JSON file whose objects fit into the free memory.

    Raises:
        DataError: the file is larger than `MOST_ANNOTATED`.
        EnvironmentFault: its objects would not fit.
        UnicodeDecodeError: it is no UTF-8.
    """
    require_below(path, MOST_ANNOTATED)
    needed, free = _AS_OBJECTS * path.stat().st_size, free_bytes()
    if needed > free:
        problem = f"{printable(path)} needs about {needed >> 20} MiB to be read and {free >> 20} MiB of memory are free"
        raise EnvironmentFault(f"{problem}: close other programs, or keep the annotations of fewer images in the file")
    return read_text(path, most=MOST_ANNOTATED)


def require_below(path: Path, most: int) -> None:
    """Raises DataError where the file has more than `most` bytes."""
    if (size := path.stat().st_size) > most:
        problem = f"{printable(path)} has {size:,} bytes; expected at most {most:,}"
        raise DataError(f"{problem}: it is not the list or annotation file of a data set, or divide the set")
