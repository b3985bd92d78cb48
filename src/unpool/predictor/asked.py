"""Which image files are asked about: files, folders and patterns; and what the files of each answer are called."""

from collections.abc import Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from unpool.data.findings import listing
from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, walk
from unpool.errors import DataError
from unpool.types import Fault

LONGEST_STEM = 180  # bytes; file systems take 255 in all


def list_images(paths: Iterable[str | Path]) -> tuple[list[Path], dict[Path, str]]:
    """The files to read, in the order of the paths, and the reason for each that cannot be read.

    A folder is replaced by the image files at any depth below it, a pattern such as `photos/*.jpg` or `photos/**` (with
    any of `*?[`, where no file has that name) by the image files and the folders that match it; both sorted.

    Raises:
        DataError: none of them can be read.
    """
    images: list[Path] = []
    problems: dict[Path, str] = {}
    for path in map(Path, paths):
        for match in _matches(path):
            if match.is_dir():
                files, bad = _below(match)
                images += [*files, *bad]
                problems |= bad
            else:
                images.append(match)
                problems |= {} if match.exists() else {match: "no such file"}
    if problems and len(problems) == len(set(images)):
        raise DataError(f"no image can be read:\n{reasons(problems)}")
    return images, problems


def _matches(path: Path) -> list[Path]:
    """The path itself where it exists or is no pattern; else what fits the pattern, or the path where nothing does."""
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        return [path]
    matches = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207, may be absolute
    return [one for one in matches if one.is_dir() or is_image_name(one.name)] or [path]


def _below(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    below = walk(folder)
    bad = {Path(fault.path): f"{fault.path}: {fault.reason}" for fault in below.faults}
    if not below.files and not bad:
        bad = {folder: "no image below it"}
    return [folder / name for name in below.files], bad


def reasons(problems: Mapping[Any, str]) -> str:
    """The reason of each image, as `findings.listing` lists them."""
    names = {printable(path): reason for path, reason in problems.items()}
    return listing([Fault(name, reason.removeprefix(f"{name}: ")) for name, reason in names.items()])


def stems(files: Sequence[Path]) -> list[str]:
    """One name a file, no two alike even where case does not count."""
    taken: set[str] = set()
    names = []
    for path in files:
        stem = path.stem
        while len(stem.encode("utf-8", "surrogateescape")) > LONGEST_STEM:
            stem = stem[:-1]
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def free_folder(folder: Path) -> Path:
    """The folder, or where it exists the first of `folder-2`, `folder-3`, ... that does not."""
    free, number = folder, 1
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free
