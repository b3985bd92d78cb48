"""Which image files are asked about: files, folders and patterns; and what the files of each answer are called."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

from unpool.data.findings import listing
from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, walk
from unpool.errors import DataError, RecipeError, require_files
from unpool.types import Fault

LONGEST_STEM = 180  # bytes; file systems take 255 in all
LIST, VIEW = "predictions.json", "_view.jpg"  # of a folder that `predict` wrote into
IMAGES = "images.json"  # has what LIST has where that is in a format of the task's field
_LISTED = 3  # folders in a line
_log = logging.getLogger(__name__)


def list_images(paths: Iterable[str | Path]) -> tuple[list[Path], dict[Path, str]]:
    """The files to read, in the order of the paths, and the reason for each that cannot be read.

    A folder is replaced by the image files at any depth below it, a pattern such as `photos/*.jpg` or `photos/**` (with
    any of `*?[`, where no file has that name) by the image files and the folders that match it; both sorted. A file is
    listed once, or as often as it is named itself. What `predict` wrote is listed only where it is named itself; the
    log says what is left out.

    Raises:
        DataError: none of them can be read.
    """
    asked = _Asked()
    for path in map(Path, paths):
        asked.add(path)
    if asked.written:
        folders = sorted({printable(file.parent) for file in asked.written})
        more = f" and {len(folders) - _LISTED} more" if len(folders) > _LISTED else ""
        where = f"{', '.join(folders[:_LISTED])}{more}"
        _log.warning("%d images are left out, which predict wrote into %s", len(asked.written), where)
    if asked.problems and len(asked.problems) == len(set(asked.images)):
        raise DataError(f"no image can be read:\n{reasons(asked.problems)}")
    return asked.images, asked.problems


def require_pairs(paths: Sequence[str | Path], frames: int, *, task: str) -> None:
    """The paths are the files of whole pairs, named one after the other; anything will do where `frames` is 1.

    Raises:
        RecipeError: a folder or a pattern, whose order would be a guess, or a number of files that makes no pairs.

    Example:
        >>> require_pairs(["left.png", "right.png"], 2, task="Stereo")
    """
    if frames == 1:
        return
    advice = "name the two files of each pair one after the other, first and second"
    for path in map(Path, paths):
        if path.is_dir() or (not path.exists() and any(sign in str(path) for sign in "*?[")):
            what = "a folder" if path.is_dir() else "a pattern"
            raise RecipeError(f"{printable(path)} is {what}, and {task} answers about pairs of images: {advice}")
    if len(paths) % frames:
        raise RecipeError(f"{task} answers about {frames} images at a time, and {len(paths)} are named: {advice}")


class _Asked:
    """Collects the files to read.

    Attributes:
        images: in order.
        problems: the reason for each of them that cannot be read.
        written: what is left out, since `predict` wrote it.
    """

    def __init__(self) -> None:
        self.images: list[Path] = []
        self.problems: dict[Path, str] = {}
        self.written: set[Path] = set()
        self._is_named: dict[Path, bool] = {}  # of each file that is listed
        self._without_links = cache(os.path.realpath)
        self._names_written_in = cache(_written_in)

    def add(self, path: Path) -> None:
        """Adds the files of a path or a pattern."""
        matches = _matches(path)
        files = {file: reason for match in matches for file, reason in _below(match).items()}
        if matches == [path] and not path.is_dir():
            self._take(path, files[path], is_named=True)
            return
        written = {file for file in files if printable(file.name) in self._names_written_in(file.parent)}
        self.written |= written
        for file, reason in files.items():
            if file not in written:
                self._take(file, reason)
        if len(written) == len(files):
            self._take(path, "no image below it" + (" but those that predict wrote; name one itself" if files else ""))

    def _take(self, file: Path, reason: str, *, is_named: bool = False) -> None:
        real = Path(self._without_links(file.parent), file.name)
        before = self._is_named.get(real)
        if before is None or (before and is_named):
            self.images.append(file)
            self.problems |= {file: reason} if reason else {}
        self._is_named[real] = is_named or bool(before)


def _matches(path: Path) -> list[Path]:
    """The path itself where it exists or is no pattern; else what fits the pattern, or the path where nothing does."""
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        return [path]
    matches = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207, may be absolute
    return [one for one in matches if one.is_dir() or is_image_name(one.name)] or [path]


def _below(path: Path) -> dict[Path, str]:
    """The image files at any depth below a folder, or a file itself, each with the reason why it cannot be read."""
    if not path.is_dir():
        return {path: "" if path.exists() else "no such file"}
    below = walk(path)
    files = {path / name: "" for name in below.files}
    return files | {Path(fault.path): f"{fault.path}: {fault.reason}" for fault in below.faults}


def _written_in(folder: Path) -> frozenset[str]:
    """Names of the files that `write_predictions` wrote into a folder, by the list that it left there."""
    name = IMAGES if (folder / IMAGES).is_file() else LIST
    try:
        listed = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        require_files(error)
        return frozenset()
    records = listed.get("predictions") if isinstance(listed, dict) else None
    names: set[str] = set()
    for record in records if isinstance(records, list) else ():
        view = record.get("view") if isinstance(record, dict) else None
        if isinstance(view, str) and view.endswith(VIEW):
            texts = [value for value in record.values() if isinstance(value, str)]
            names |= {text for text in texts if text.startswith(view.removesuffix(VIEW) + "_")}
    return frozenset(names)


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
