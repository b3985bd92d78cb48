"""Stacks: files of several pages, such as a volume slice by slice, of which one page is read as a file by itself.

A page of a TIFF is read through a stream in which its directory is the first and the last of the file, so that no other
page is decoded; that of an .npy file of shape (N, H, W) is one array.
Source: TIFF Revision 6.0, section 2, Image File Directory; BigTIFF is that with wider numbers.
"""

import io
import os
import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_MOST_PAGES = 100_000


class Page(NamedTuple):
    """One page of a stack.

    Attributes:
        path: of the file.
        number: of the page, counted from 1.
    """

    path: Path
    number: int

    @property
    def suffix(self) -> str:
        """Of the file."""
        return self.path.suffix

    def open(self, mode: str) -> BinaryIO:
        """A file of this page alone, in the format of the stack; raises OSError and ValueError as the file is damaged.

        Args:
            mode: "rb", as of `Path.open`.
        """
        if mode != "rb":
            raise ValueError(f"mode is {mode}; a page is read only, with rb")
        with self.path.open("rb") as stream:
            is_array = stream.read(6) == b"\x93NUMPY"
        if not is_array:
            return io.BufferedReader(_OnePage(self))
        stream = io.BytesIO()
        np.save(stream, mapped_array(self), allow_pickle=False)
        stream.seek(0)
        return stream


File = Path | Page


class Directory(NamedTuple):
    """Of one page of a TIFF: where its list of tags begins, and where the offset of the next directory stands."""

    start: int
    next_at: int


def directories(stream: BinaryIO) -> Iterator[Directory]:
    """Those of a TIFF, in the order of its pages; a damaged file raises struct.error."""
    stream.seek(0)
    head = stream.read(16)
    order, is_big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
    count, entry, offset = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    following = struct.unpack_from(order + offset, head, 8 if is_big else 4)[0]
    seen: set[int] = set()
    while following and following not in seen and len(seen) < _MOST_PAGES:
        seen.add(following)
        stream.seek(following)
        entries = struct.unpack(order + count, stream.read(struct.calcsize(count)))[0]
        next_at = stream.seek(entries * entry, 1)
        yield Directory(following, next_at)
        stream.seek(next_at)
        raw = stream.read(struct.calcsize(offset))
        following = struct.unpack(order + offset, raw)[0] if len(raw) == struct.calcsize(offset) else 0


def mapped_array(file: File) -> np.ndarray:
    """The array of an .npy file, or one page of it, mapped from the file; raises as `numpy.load`."""
    if isinstance(file, Page):
        return mapped_array(file.path)[file.number - 1]
    return np.load(file, mmap_mode="r", allow_pickle=False)


class _OnePage(io.RawIOBase):
    """The bytes of a TIFF, with a header that names one page as the first, and no page behind it."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self._file = page.path.open("rb", buffering=0)
        try:
            self._changed = _one_page(self._file, page)
        except BaseException:
            self._file.close()
            raise
        self._file.seek(0)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = self._file.tell()
        count = self._file.readinto(buffer) or 0
        for at, data in self._changed:
            first, last = max(at, start), min(at + len(data), start + count)
            if first < last:
                buffer[first - start : last - start] = data[first - at : last - at]
        return count

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        """Of the whole file: libtiff, to which Pillow gives it, goes to the directory that Pillow has read."""
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        super().close()


def _one_page(stream: BinaryIO, page: Page) -> list[tuple[int, bytes]]:
    """What to put in the file so that it has one page: where, and the bytes."""
    state = os.fstat(stream.fileno())
    pages = _directories(page.path, state.st_mtime_ns, state.st_size)
    if not 1 <= page.number <= len(pages):
        raise ValueError(f"it no longer has a page {page.number}; it was changed while in use")
    directory = pages[page.number - 1]
    stream.seek(0)
    head = stream.read(4)
    order, is_big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
    offset = f"{order}{'Q' if is_big else 'I'}"
    none = bytes(struct.calcsize(offset))
    return [(8 if is_big else 4, struct.pack(offset, directory.start)), (directory.next_at, none)]


@lru_cache(maxsize=64)
def _directories(path: Path, mtime_ns: int, size: int) -> tuple[Directory, ...]:
    """Those of a file, walked through once, since a page far back would cost a walk for each sample."""
    with path.open("rb") as stream:
        return tuple(directories(stream))
