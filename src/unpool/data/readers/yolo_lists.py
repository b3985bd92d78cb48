"""Which images of a set in YOLO's form belong to a split.

They are what data.yaml names for it: folders, image files, or text files of paths. Where it names nothing for a split,
they lie in images/<split> or <split>/images; where it names nothing at all, they may all lie in images. Without a split
for validation, a share of train is drawn for it, by a seed. No image may be in both of train and val.
"""

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.listing import as_posix, is_below, is_image_name, subfolders, walk
from unpool.data.readers.box_layouts import missing_boxes
from unpool.data.readers.split_names import SPLIT_NAMES, has_image, split_meant
from unpool.data.readers.splits import Drawn, Split, require_apart
from unpool.data.readers.yolo_names import YoloNames
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted
from unpool.types import Fault


class Listed(NamedTuple):
    """The images of one split, as paths below the root.

    Attributes:
        images: of the split, or those that it is drawn from.
        drawn: the drawing, if the split is drawn.
        set_files: the lists.
        faults: what is on a list and is no file.
        notes: sentences on entries of data.yaml that were read otherwise than they stand there.
        ignored: number of files beside the images.
    """

    images: list[str]
    drawn: Drawn | None
    set_files: tuple[Path, ...]
    faults: list[Fault]
    notes: list[str]
    ignored: int


def find_images(root: Path, split: Split, names: YoloNames, drawn: Drawn) -> Listed:
    """Finds the images of a split.

    Raises:
        DataError: the set has no such split, an entry of data.yaml does not exist or leaves the root, or two splits
            share images.
    """
    entries = {**_laid_out(root, names.entries), **names.entries}
    if split in entries and (split != "train" or "val" in entries):
        source, drawing = split, None
    elif split != "test" and "train" in entries:
        source, drawing = "train", drawn
    elif not entries and drawn.gives(split) and has_image(root / "images"):
        source, drawing, entries = split, drawn, {split: ("images",)}
    else:
        looked_for = [names.path.name, *(f"images/{name}" for name in SPLIT_NAMES[split])]
        raise missing_boxes(root, split, looked_for + (["images"] if drawn.gives(split) else []), "yolo")
    search = _Search(root, names)
    others = ({"train", "val"} & set(entries)) - {source} if drawing is None else set()
    listed = {name: search.images(name, entries[name]) for name in sorted(others)}
    search.faults.clear()  # those of another split are its own, and so are the notes
    search.notes.clear()
    if names.entries and source in entries and source not in names.entries:
        search.notes.append(f"{names.path.name} names no {source}: {printable(entries[source][0])} is taken for it")
    images = listed[source] = search.images(source, entries[source])
    require_apart(root, listed, source)
    if not images:
        raise missing_boxes(root, split, entries[source], "yolo")
    return Listed(images, drawing, tuple(search.set_files), search.faults, search.notes, search.ignored)


def _laid_out(root: Path, stated: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Returns the folder of each split that has images, where data.yaml does not say; raises where two have."""
    folders = [(name, f"images/{name}") for name in subfolders(root / "images")]
    folders += [(name, f"{name}/images") for name in subfolders(root)]
    held: dict[str, list[str]] = {}
    for name, folder in folders:
        if (split := split_meant(name)) and split not in stated and has_image(root / folder):
            held.setdefault(split, []).append(folder)
    for split, both in held.items():
        if len(both) > 1:
            named = " and ".join(map(printable, both))
            raise DataError(f"{printable(root)}: {named} hold images of {split}: name one of them in data.yaml")
    return {split: tuple(one) for split, one in held.items()}


def _relative(root: Path, path: str) -> str:
    """Returns an absolute path as one below the root, if it is, also through links; any other path as it stands."""
    if Path(path).is_absolute():
        for form in (os.path.abspath, os.path.realpath):
            if (file := Path(form(path))).is_relative_to(form(root)):
                return file.relative_to(form(root)).as_posix()
    return path


class _Search:
    """Finds the images of entries of data.yaml, and remembers what was odd."""

    def __init__(self, root: Path, names: YoloNames) -> None:
        self._root, self._names = root, names
        self.set_files: list[Path] = []
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.ignored = 0

    def images(self, split: str, entries: Sequence[str]) -> list[str]:
        """Returns the paths of the images, each once, in the order of the entries."""
        files = [file for entry in entries for file in self._of_entry(split, entry)]
        return list(dict.fromkeys(files))

    def _of_entry(self, split: str, entry: str) -> list[str]:
        path = self._resolve(split, entry)
        if (self._root / path).is_dir():
            listing = walk(self._root / path)
            self.faults += listing.faults
            self.ignored += listing.ignored
            return [(PurePosixPath(path) / file).as_posix() for file in listing.files]
        if is_image_name(path):
            return [path]
        return self._of_list(path)

    def _resolve(self, split: str, entry: str) -> str:
        """Returns the path of an entry below the root.

        Exports of Roboflow write ../train/images for train/images; Ultralytics reads them so too.
        """
        root, stated = self._root, f"{self._names.path.name} gives {quoted(printable(entry))} for {split}"
        path = _relative(root, entry.strip()).removeprefix("./")
        if path.startswith("../") and is_below(path[3:]):
            path = path[3:]
            self.notes.append(f"{stated}, read as {printable(path)} below data.root")
        if "\\" in path:
            raise DataError(f"{printable(root)}: {stated}, with backslashes: write a path below data.root with /")
        if not is_below(path):
            raise DataError(f"{printable(root)}: {stated}, outside of data.root: write a path below it")
        base = self._names.base.removeprefix("./")
        for below in (
            PurePosixPath(base) / path if base and is_below(base) else PurePosixPath(path),
            PurePosixPath(path),
        ):
            if (root / below).exists():
                return below.as_posix()
        raise DataError(f"{printable(root)}: {stated}, and {printable(path)} is not there: correct it or data.root")

    def _of_list(self, path: str) -> list[str]:
        """Returns the images of a text file of paths: from its folder where they begin with ./, else from the root."""
        self.set_files.append(self._root / path)
        try:
            lines = [line.strip() for line in read_text(self._root / path).splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise DataError(f"{printable(self._root / path)}: cannot read ({error}); save it as UTF-8 text") from error
        files = []
        for line in lines:
            inside = (PurePosixPath(path).parent / line).as_posix() if line.startswith("./") else line
            file = _relative(self._root, inside)
            if not is_below(file) or not is_image_name(file):
                raise DataError(
                    f"{printable(self._root / path)} lists {quoted(printable(line))}; expected images below data.root, "
                    "with / between folders"
                )
            if (self._root / file).is_file():
                files.append(as_posix(file))
            else:
                self.faults.append(Fault(printable(file), f"there is no such image; {printable(path)} lists it"))
        return files
