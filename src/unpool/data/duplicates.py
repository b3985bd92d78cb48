"""Files of equal content among many: only those of equal size are read."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from unpool.data.contents import read_sha256

_REMEMBERED = 1 << 17  # files; the readers of both splits ask for the same


def equal_files(paths: Sequence[Path]) -> list[tuple[int, ...]]:
    """Returns the positions of files with equal content, in groups of two or more, ordered by their first.

    Files that cannot be read are in no group, nor are empty ones.
    """
    by_size = _grouped((_size(path), position) for position, path in enumerate(paths))
    alike = [group for size, group in by_size.items() if size and len(group) > 1]
    by_content = _grouped((_content(paths[position]), position) for group in alike for position in group)
    return sorted(tuple(group) for content, group in by_content.items() if content and len(group) > 1)


def _grouped(keys: Iterable[tuple[bytes | int, int]]) -> dict[bytes | int, list[int]]:
    groups: dict[bytes | int, list[int]] = {}
    for key, position in keys:
        groups.setdefault(key, []).append(position)
    return groups


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        return _sha256(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return b""


@lru_cache(_REMEMBERED)
def _sha256(path: Path, size: int, mtime_ns: int) -> bytes:
    return read_sha256(path, size)
