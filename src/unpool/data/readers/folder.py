"""One folder a class: DIR/<class>/*.jpg, or DIR/{train,val,test}/<class>/*.jpg.

Without a val folder, a share of the images of each class is drawn for validation, by a seed: at least one of a class of
two or more.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from unpool.data.classes import case_clashes, match, nfc, require_equal, require_two
from unpool.data.image_file import printable
from unpool.data.listing import Listing, holds_image, is_image_name, is_junk, subfolders, walk
from unpool.data.readers.equal_names import require_classes_by_names
from unpool.data.readers.image_files import ImageFiles
from unpool.data.readers.layouts import doubtful, groups_of, look_at
from unpool.data.readers.split_names import SPLIT_NAMES, not_used
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    empty_split,
    missing_split,
    origin_of,
    require_named_split,
    require_split,
    with_exif,
)
from unpool.data.root import require_root
from unpool.errors import DataError
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault, Sample


class Folder(ImageFiles):
    """Images with a label each, which is their folder.

    Args:
        classes: class names by index, as in a training run; folders with other names are refused. By default the sorted
            folders of the train split, empty ones too.
        val_share: part of each class drawn for validation if there is no val folder; with 1, a root without split
            folders is all val, and all test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    gives: tuple[str, ...] = ("image", "label")
    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        self.decoding = with_exif(decoding, exif)
        self.root, self.set_files = require_root(root), ()
        source, self._drawn = self._source(split, Drawn.of(val_share, seed, together))
        folders = _class_folders(source)
        if classes is None:
            _require_classes(source, folders, self.root)
        known = self._known_classes(folders, source, split)
        self.info = DataInfo(classes=tuple(known if classes is None else classes))
        require_two(self.info.classes, printable(source))
        known_names = set(self.info.classes)
        used = [name for name in sorted(folders) if name in known_names or _holds_images(folders[name])]
        index = dict(zip(used, match(used, self.info.classes, printable(source)), strict=True))
        self.notes = [*case_clashes(used), *_stray(source), *_odd_folders(source, folders)]
        self.faults: list[Fault] = []
        self._files: list[str] = []
        labels: list[int] = []
        listings = [(name, folder, walk(folder)) for name in used for folder in folders[name]]
        copies = self._copies(listings)
        for name, folder, listing in listings:
            self._add_files(folder, name, split, listing=listing, copies=copies)
            labels += [index[name]] * (len(self._files) - len(labels))
        if classes is None:
            self.notes += groups_of(source) if split == "train" else []
            doubts = require_classes_by_names(source, {name: listing.files for name, _, listing in listings})
            self.notes += doubts if split == "train" else []
        if split == "train":
            self.notes += doubtful(used, [len(listing.files) for _, _, listing in listings])
            laid_out = [path.name for one in SPLIT_NAMES if (path := _split_folder(self.root, one))]
            self.notes += not_used(self.root, laid_out) if laid_out else []
        if not self._files:
            raise empty_split(root, split, self._drawn) if self._drawn else missing_split(root, split, ["images"])
        self._labels = torch.tensor(labels)
        self.names: Sequence[str] = [printable(file) for file in self._files]
        ignored = sum(listing.ignored for _, _, listing in listings)
        self.origin = origin_of(root, split, ignored=ignored, drawn=self._drawn)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"label": self._labels[index]}

    def _source(self, split: Split, drawn: Drawn) -> tuple[Path, Drawn | None]:
        """Returns the folder of class folders with the split, and the drawing that selects the split there, if any."""
        laid_out = {s: f for s in SPLIT_NAMES if (f := _split_folder(self.root, s)) is not None}
        if not laid_out and drawn.gives(split) and subfolders(self.root):
            return self.root, drawn
        if split != "test" and "val" not in laid_out and "train" in laid_out:
            require_named_split(self.root, "val")
            return laid_out["train"], drawn
        if split in laid_out:
            return laid_out[split], None
        looked_for = [f"{name}/<class>/*.jpg" for name in SPLIT_NAMES[split]]
        looked_for += ["<class>/*.jpg"] if drawn.gives(split) else []
        raise missing_split(self.root, split, looked_for, "folder_resnet18")

    def _known_classes(self, folders: dict[str, list[Path]], source: Path, split: Split) -> list[str]:
        """Names of the classes: those of the train split, if there is one; raises DataError if this split's differ."""
        train = _split_folder(self.root, "train")
        if train is None or train == source:
            return sorted(folders)
        trained = _class_folders(train)
        seen = [name for name, paths in folders.items() if name in trained or _holds_images(paths)]
        expected = [name for name, paths in trained.items() if name in folders or _holds_images(paths)]
        require_equal(seen, expected, printable(self.root), split=split)
        return sorted(trained)

    def _copies(self, listings: Sequence[tuple[str, Path, Listing]]) -> list[tuple[str, ...]]:
        """Returns groups of images that the drawing keeps together, as `<class>/<file>`; none where none is drawn."""
        if self._drawn is None or self._drawn.share == 1:
            return []
        files = [(f"{name}/{file}", folder / file) for name, folder, listing in listings for file in listing.files]
        samples = [(name, printable(path.relative_to(self.root).as_posix()), path) for name, path in files]
        return self._drawn.copies(samples)

    def _add_files(
        self, folder: Path, name: str, split: Split, *, listing: Listing, copies: Sequence[tuple[str, ...]]
    ) -> None:
        """Adds the files of one class folder that belong to the split."""
        self.faults += listing.faults
        self.notes += [f"file names differ in case only: {clash}" for clash in listing.clashes]
        files = listing.files
        if self._drawn:
            kept = self._drawn.keeps([f"{name}/{file}" for file in files], split, least=1, copies=copies)
            files = [file for file in files if f"{name}/{file}" in kept]
        prefix = folder.relative_to(self.root).as_posix()
        self._files += [f"{prefix}/{file}" for file in files]


def _require_classes(source: Path, folders: dict[str, list[Path]], whole: Path) -> None:
    """Raises DataError where the folders are certainly no classes, or fewer than two hold images."""
    held = (name for name, paths in folders.items() if _holds_images(paths))
    if look := look_at(source, whole):
        names = sorted(held)
        way_out = f". If these folders are classes all the same, set data.classes=[{','.join(names)}]"
        raise DataError(f"{look}{way_out if len(names) > 1 else ''}")
    require_two(list(islice(held, 2)), printable(source))


def _stray(source: Path) -> list[str]:
    stray = [e.name for e in source.iterdir() if is_image_name(e.name) and not is_junk(e.name) and e.is_file()]
    if not stray:
        return []
    return [f"{len(stray)} images lie outside of the class folders, such as {printable(min(stray))}: left out"]


def _odd_folders(source: Path, folders: dict[str, list[Path]]) -> list[str]:
    twice = [f"class '{name}' is spelt in two ways, read as one" for name, paths in folders.items() if len(paths) > 1]
    others = [name for name in subfolders(source) if nfc(name) not in folders]
    return twice + [f"folder '{printable(name)}' holds files and no image, so it is no class" for name in others]


def _split_folder(root: Path, split: str) -> Path | None:
    for name in SPLIT_NAMES[split]:
        if subfolders(root / name):
            return root / name
    return None


def _class_folders(source: Path) -> dict[str, list[Path]]:
    """Returns the folders that hold an image, or nothing, by name in NFC: two encodings of one name are one class."""
    folders: dict[str, list[Path]] = {}
    for name in subfolders(source):
        if holds_image(source / name) or _is_empty(source / name):
            folders.setdefault(nfc(name), []).append(source / name)
    return folders


def _holds_images(folders: Sequence[Path]) -> bool:
    return any(map(holds_image, folders))


def _is_empty(folder: Path) -> bool:
    listing = walk(folder)
    return not (listing.files or listing.faults or listing.others)
