"""The image files below a folder, in the order of their names whatever the file system says."""

import os
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from unpool.data.formats import REFUSED_SUFFIXES, SUFFIXES
from unpool.data.image_file import printable
from unpool.errors import require_files
from unpool.types import Fault

_DEEPEST = 100  # folders within one another
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


class Listing(NamedTuple):
    """The files below a folder, and what was wrong with some.

    Attributes:
        files: paths below the folder with "/" between parts, raw (not escaped), sorted.
        faults: dangling links, loops and folders that cannot be read.
        ignored: number of hidden, system and other files that are no images.
        clashes: names that differ in case only.
        others: number of files that are no images, by suffix.
    """

    files: list[str]
    faults: list[Fault]
    ignored: int
    clashes: list[str]
    others: Counter[str]

    def kinds_of_others(self) -> str:
        """Such as "3 .json files and 1 .txt file, which are no images"; empty where there are none."""
        counts = [f"{n} {suffix or 'nameless'} {'file' if n == 1 else 'files'}" for suffix, n in self.others.items()]
        return f"{' and '.join(counts)}, which are no images" if counts else ""


def is_junk(name: str) -> bool:
    """Hidden files and what desktop systems leave behind."""
    return name.startswith(".") or name.lower() in _JUNK


def is_image_name(name: str) -> bool:
    """Whether the suffix is that of an image format, enabled or not."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in SUFFIXES or suffix in REFUSED_SUFFIXES


def is_below(name: str) -> bool:
    """Whether a path that somebody else wrote stays below the folder that it is put after, on any system."""
    is_odd = name.startswith("/") or "\\" in name or "\0" in name or PureWindowsPath(name).drive
    return not (is_odd or ".." in PurePosixPath(name).parts)


def as_posix(name: str) -> str:
    """A path that somebody else wrote in the one form that it has: without "." and double "/" between folders.

    >>> as_posix("./a//b.png"), as_posix("a/b.png")
    ('a/b.png', 'a/b.png')
    """
    return PurePosixPath(name).as_posix()


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, links to folders included, junk not, sorted; none where there is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not is_junk(e.name) and _is_dir(e))


def walk(folder: Path) -> Listing:
    """All image files at any depth below `folder`; each folder is entered once, links to folders are followed."""
    visit = _Walk()
    visit.enter(folder, "", frozenset())
    folded: dict[str, str] = {}
    clashes = []
    for file in sorted(visit.files):
        if file.casefold() in folded:
            clashes.append(f"{printable(folded[file.casefold()])} and {printable(file)}")
        folded.setdefault(file.casefold(), file)
    return Listing(sorted(visit.files), sorted(visit.faults), visit.ignored, clashes, visit.others)


def holds_image(folder: Path) -> bool:
    """Whether `walk` would find a file; it stops at the first."""
    visit = _Walk(most=1)
    visit.enter(folder, "", frozenset())
    return bool(visit.files)


class _Walk:
    def __init__(self, *, most: int | None = None) -> None:
        self.most = most
        self.others: Counter[str] = Counter()
        self.files: list[str] = []
        self.faults: list[Fault] = []
        self.ignored = 0
        self.seen: set[tuple[int, int]] = set()

    def enter(self, folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self.faults.append(Fault(printable(folder), "symbolic link leads back to a folder that holds it"))
            return
        if identity in self.seen:
            self.ignored += 1
            return
        self.seen.add(identity)
        if len(above) > _DEEPEST:
            self.faults.append(Fault(printable(folder), f"lies more than {_DEEPEST} folders deep: not read"))
            return
        try:
            with os.scandir(folder) as entries:
                # real entries before links, so that a folder is listed under its real name
                inside = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
        except OSError as error:
            require_files(error)
            self.faults.append(Fault(printable(folder), f"cannot read ({error.strerror})"))
            return
        above |= {identity}
        for entry in inside:
            if self.most is not None and len(self.files) >= self.most:
                return
            self._take(entry, folder, prefix, above)

    def _take(self, entry: os.DirEntry[str], folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> None:
        if is_junk(entry.name):
            self.ignored += 1
        elif _is_dir(entry):
            self.enter(folder / entry.name, f"{prefix}{entry.name}/", above)
        elif not is_image_name(entry.name):
            self.ignored += 1
            self.others[PurePosixPath(entry.name).suffix.lower()] += 1
        elif _is_file(entry):
            self.files.append(prefix + entry.name)
        else:
            reason = "dangling symbolic link" if entry.is_symlink() else "not a regular file"
            self.faults.append(Fault(printable(folder / entry.name), reason))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
