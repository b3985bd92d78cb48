"""What the files of a set hold: size, time and sha256 of each, in compact columns, and what changed since."""

import hashlib
import os
import time
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.content_cache import ContentCache, Stamp
from unpool.data.image_file import printable
from unpool.errors import DataError, require_files

_SMALL_BYTES = 1 << 20  # read in one piece
_TRIES = 3
_NEIGHBOURS = 256  # files that samples share are shared by neighbours
_LISTED = 5


class Changed(DataError):
    """A file is no longer what it was; it is never replaced by another."""


class Content(NamedTuple):
    """Of one file; the sha256 is None where it cannot be read."""

    path: Path
    stamp: Stamp
    sha256: bytes | None


class ContentReader:
    """Reads contents, or recalls them for files that are as they were.

    Args:
        cache: of contents of earlier scans.
        anew: every file is hashed, whatever the cache knows.
        tolerant: a file that cannot be read has no sha256; else OSError is raised.
    """

    def __init__(self, cache: ContentCache, *, anew: bool = False, tolerant: bool = False) -> None:
        self.cache = cache
        self._anew = anew
        self._tolerant = tolerant
        self.of = lru_cache(_NEIGHBOURS)(self._of)

    def _of(self, path: Path) -> Content:
        for _ in range(_TRIES):
            stamp, read_at_ns = Stamp.of(path), time.time_ns()
            known = None if self._anew else self.cache.sha256(path, stamp)
            if known is not None:
                return Content(path, stamp, known)
            try:
                sha256 = read_sha256(path, stamp.size)
            except OSError as error:
                require_files(error)
                if not self._tolerant:
                    raise
                return Content(path, stamp, None)
            if Stamp.of(path) == stamp:
                self.cache.keep_sha256(path, stamp, sha256, read_at_ns=read_at_ns)
                return Content(path, stamp, sha256)
        raise Changed(f"{printable(path)} is being written to while it is read; wait until it is whole")


def read_sha256(path: Path, size: int = 0) -> bytes:
    """The sha256 of a file; raises OSError."""
    with path.open("rb", buffering=0) as file:
        if size < _SMALL_BYTES:
            return hashlib.sha256(file.read()).digest()
        return hashlib.file_digest(file, "sha256").digest()


class Contents:
    """The files of a set: those that its samples share, then those of sample after sample, each once.

    Attributes:
        root: the folder that all of them lie below.
        paths: below the root, with "/" between parts.
    """

    def __init__(self, root: Path, shared: Sequence[Content]) -> None:
        self.root = root
        self._root = f"{root}{os.sep}"
        self.paths: list[str] = []
        self._numbers: dict[str, int] = {}
        self._stamps = array("q")
        self._sums = bytearray()
        self._files, self._starts = array("q"), array("q", [0])
        for content in shared:
            self._number(content)

    def add(self, files: Sequence[Content]) -> None:
        """Adds the files of the next sample."""
        self._files.extend(self._number(content) for content in files)
        self._starts.append(len(self._files))

    def of_sample(self, index: int) -> list[str]:
        """Paths of the files of one sample."""
        return [self.paths[i] for i in self._files[self._starts[index] : self._starts[index + 1]]]

    def to_json(self) -> dict[str, list[Any]]:
        """{path: [bytes, time of change in ns, sha256]}; null for the sha256 of a file that could not be read."""
        stamps = np.frombuffer(self._stamps, np.int64).reshape(-1, 3)[:, :2].tolist() if self.paths else []
        return {path: [*stamps[i], self._hex(i)] for i, path in enumerate(self.paths)}

    def watch(self) -> "Watch":
        """What a reader of single samples compares their files with."""
        stamps = torch.tensor(np.frombuffer(self._stamps, np.int64).reshape(-1, 3)) if self.paths else torch.zeros(0, 3)
        sums = torch.frombuffer(self._sums, dtype=torch.uint8).clone() if self.paths else torch.zeros(0)
        return Watch(stamps, sums.reshape(-1, 32), torch.tensor(self._files), torch.tensor(self._starts))

    def _number(self, content: Content) -> int:
        path = str(content.path).removeprefix(self._root).replace(os.sep, "/")
        number = self._numbers.setdefault(path, len(self.paths))
        if number == len(self.paths):
            self.paths.append(path)
            self._stamps.extend(content.stamp)
            self._sums += content.sha256 or bytes(32)
        return number

    def _hex(self, number: int) -> str | None:
        sha256 = self._sums[32 * number : 32 * number + 32]
        return sha256.hex() if any(sha256) else None


class Watch:
    """Stamps and sums as tensors, which worker processes share; the paths are the reader's.

    Args:
        stamps: (N, 3) int64 size, times of change.
        sums: (N, 32) uint8 sha256, zeros where it is not known.
        files: numbers of the files of sample after sample.
        starts: (samples + 1,) where in `files` each begins.
    """

    def __init__(self, stamps: Tensor, sums: Tensor, files: Tensor, starts: Tensor) -> None:
        self._stamps, self._sums, self._files, self._starts = stamps, sums, files, starts

    def check(self, index: int, paths: Sequence[Path]) -> None:
        """Compares sizes and times of the files of a sample with those of the scan, contents where these differ.

        Raises:
            Changed: a content is another, or the file is gone.
        """
        first, last = self._starts[index : index + 2].tolist()
        for number, path in zip(self._files[first:last].tolist(), paths, strict=True):
            before = self._stamps[number].tolist()
            try:
                stamp = Stamp.of(path)
                if list(stamp) == before:
                    continue
                sha256 = read_sha256(path, stamp.size)
            except (FileNotFoundError, NotADirectoryError):
                raise Changed(f"{printable(path)} is gone since the scan: put it back, then resume") from None
            except OSError:
                continue  # it cannot be read, which its reader says
            if sha256 != bytes(self._sums[number].tolist()):
                what = what_differs((before[0], stamp.size))
                raise Changed(f"{printable(path)} was changed since the scan ({what}): put it back, then resume")
            self._stamps[number] = torch.tensor(stamp)


def what_differs(sizes: tuple[int, int]) -> str:
    """How contents of these sizes, before and now, differ."""
    before, now = sizes
    return f"{now:,} bytes, {before:,} before" if before != now else f"other content of the same {now:,} bytes"


def changed_files(recorded: Mapping[str, Sequence[Any]], now: Contents) -> dict[str, str]:
    """Returns path and difference of each file whose content is not the recorded one, where both are known.

    Args:
        recorded: what `Contents.to_json` returned.
        now: contents of the same set, all hashed anew.
    """
    present = now.to_json()
    return {
        path: what_differs((size, present[path][0]))
        for path, (size, _, sha256) in recorded.items()
        if path in present and sha256 and present[path][2] and sha256 != present[path][2]
    }


def other_files(recorded: Mapping[str, Sequence[Any]], now: Contents) -> list[str]:
    """Returns sentences on files that are in one of the two only."""
    lacking, added = set(recorded).difference(now.paths), set(now.paths).difference(recorded)
    return [*listed("lacks", sorted(map(printable, lacking))), *listed("has besides", sorted(map(printable, added)))]


def listed(verb: str, names: Sequence[str]) -> list[str]:
    """One sentence on the first of the names, none where there are none."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{verb} {', '.join(names[:_LISTED])}{more}"] if names else []
