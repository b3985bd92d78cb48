"""One folder a class: DIR/<class>/*.jpg, or DIR/{train,val,test}/<class>/*.jpg.

Without a val folder, a share of the images of each class is drawn for validation, by a seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unpool.data.classes import case_clashes, match, nfc, require_equal, require_two
from unpool.data.decode import decode_image, notes
from unpool.data.image_file import oriented, printable, probe
from unpool.data.listing import holds_image, is_image_name, is_junk, subfolders, walk
from unpool.data.measure import Measure
from unpool.data.readers.splits import (
    SPLIT_NAMES,
    WHOLE,
    Drawn,
    Split,
    empty_split,
    missing_split,
    require_exif,
    require_root,
    require_share,
    require_split,
)
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault, Sample


class Folder:
    """Images with a label each, which is their folder.

    Args:
        classes: class names by index, as in a training run; folders with other names are refused. By default the sorted
            folders of the train split.
        val_share: part of each class drawn for validation if there is no val folder; with 1, a root without split
            folders is all val, and all test.
        seed: of that drawing.
    """

    gives: tuple[str, ...] = ("image", "label")
    whole_options = WHOLE

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        val_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        require_split(split)
        require_share(val_share)
        require_exif(exif)
        self.root = require_root(root)
        self.decoding = replace(decoding, exif=exif)
        source, self._drawn = self._source(split, val_share, seed)
        folders = _class_folders(source)
        names = sorted(folders)
        train_names = self._train_classes(names, source, split)
        expected = classes if classes is not None else train_names
        self.info = DataInfo(classes=tuple(expected))
        require_two(self.info.classes, printable(source))
        index = dict(zip(names, match(names, expected, printable(source)), strict=True))
        self.notes = [*case_clashes(names), *_stray(source), *_odd_folders(source, folders)]
        self.faults: list[Fault] = []
        self._files: list[str] = []
        labels: list[int] = []
        ignored = 0
        for name in names:
            for folder in folders[name]:
                ignored += self._add_files(folder, name, split)
                labels += [index[name]] * (len(self._files) - len(labels))
        if not self._files:
            raise empty_split(root, split, self._drawn) if self._drawn else missing_split(root, split, ["images"])
        self._labels = torch.tensor(labels)
        self.names: Sequence[str] = [printable(file) for file in self._files]
        drawn = self._drawn._asdict() if self._drawn else None
        self.origin: dict[str, Any] = {"root": printable(root), "split": split, "ignored": ignored, "drawn": drawn}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        path = self.root / self._files[index]
        return {"image": decode_image(path, self.decoding), **self.targets(index)}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        path = self.root / self._files[index]
        header = probe(path)
        sentences = notes(self._files[index], header, self.decoding)
        return Measure(
            oriented(header, self.decoding.exif), self.decoding.channels * header.height * header.width, sentences
        )

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"label": self._labels[index]}

    def _source(self, split: Split, val_share: float, seed: int) -> tuple[Path, Drawn | None]:
        """Returns the folder of class folders with the split, and the drawing that selects the split there, if any."""
        laid_out = {s: f for s in SPLIT_NAMES if (f := _split_folder(self.root, s)) is not None}
        drawn = Drawn(val_share, seed)
        if not laid_out and drawn.gives(split) and subfolders(self.root):
            return self.root, drawn
        if split == "val" and "val" not in laid_out and "train" in laid_out:
            return laid_out["train"], drawn
        if split in laid_out:
            return laid_out[split], drawn if split == "train" and "val" not in laid_out else None
        looked_for = [f"{name}/<class>/*.jpg" for name in SPLIT_NAMES[split]]
        raise missing_split(self.root, split, looked_for + (["<class>/*.jpg"] if drawn.gives(split) else []))

    def _train_classes(self, names: Sequence[str], source: Path, split: Split) -> Sequence[str]:
        train = _split_folder(self.root, "train")
        if train is None or train == source:
            return names
        expected = sorted(_class_folders(train))
        require_equal(names, expected, printable(self.root), split=split)
        return expected

    def _add_files(self, folder: Path, name: str, split: Split) -> int:
        """Adds the files of one class folder that belong to the split; returns the number of files ignored."""
        listing = walk(folder)
        self.faults += listing.faults
        self.notes += [f"file names differ in case only: {clash}" for clash in listing.clashes]
        files = listing.files
        if self._drawn:
            kept = self._drawn.keeps([f"{name}/{file}" for file in files], split)
            files = [file for file in files if f"{name}/{file}" in kept]
        prefix = folder.relative_to(self.root).as_posix()
        self._files += [f"{prefix}/{file}" for file in files]
        return listing.ignored


def _stray(source: Path) -> list[str]:
    stray = [e.name for e in source.iterdir() if is_image_name(e.name) and not is_junk(e.name) and e.is_file()]
    if not stray:
        return []
    return [f"{len(stray)} images lie outside of the class folders, such as {printable(min(stray))}: left out"]


def _odd_folders(source: Path, folders: dict[str, list[Path]]) -> list[str]:
    twice = [f"class '{name}' is spelt in two ways, read as one" for name, paths in folders.items() if len(paths) > 1]
    empty = [name for name in subfolders(source) if nfc(name) not in folders]
    return twice + [f"folder '{printable(name)}' holds no image, so it is no class" for name in empty]


def _split_folder(root: Path, split: str) -> Path | None:
    for name in SPLIT_NAMES[split]:
        if subfolders(root / name):
            return root / name
    return None


def _class_folders(source: Path) -> dict[str, list[Path]]:
    """Returns the folders that hold an image, by name in NFC, so that two encodings of one name are one class."""
    folders: dict[str, list[Path]] = {}
    for name in subfolders(source):
        if holds_image(source / name):
            folders.setdefault(nfc(name), []).append(source / name)
    return folders
