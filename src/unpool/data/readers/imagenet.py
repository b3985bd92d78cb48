"""ImageNet's classification sets as people have them: folders of synsets, or flat folders with a list.

Images lie below root/ILSVRC/Data/CLS-LOC, root/Data/CLS-LOC or root: train/<synset>/*.JPEG; val the same, or flat; or
both in one folder images, with train.txt and val.txt, of which each names the images of its part. Lists, in the forms
of `imagenet_lists`, and the words of synsets (synset_words.txt or LOC_synset_mapping.txt) lie in root, beside the
images, or in the development kit. The labels of the test images were never published, so test is val.

A class is a line of the words file, and its number the place of its synset in the order of ids, as the weights of
torchvision and timm have them (`data.synsets`). A set that has images of a few of 1,000 synsets keeps all 1,000
classes; for a network of the few, leave only their lines in the words file, and sort images that a list numbers into
folders of synsets first.

Source: Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge", arXiv:1409.0575.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from annotated_types import Len

from unpool.data.classes import match, require_two
from unpool.data.image_file import printable
from unpool.data.listing import Listing, holds_image, is_image_name, is_junk, subfolders, walk
from unpool.data.readers.image_files import ImageFiles
from unpool.data.readers.imagenet_lists import files_of, list_names, read_labels, require_agreement, stem_of
from unpool.data.readers.splits import Split, missing_split, origin_of, require_split, with_exif
from unpool.data.root import require_root
from unpool.data.synset_tree import read_tree
from unpool.data.synsets import SYNSET, Words, read_words
from unpool.errors import DataError, quoted, shortened
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault, Sample

_BASES = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", ".")
_KITS = (".", "ILSVRC", "ILSVRC2012_devkit_t12/data", "devkit/data", "data")  # folders of lists, below the root
_WORDS = ("synset_words.txt", "LOC_synset_mapping.txt")


class ImageNet(ImageFiles):
    """Images with a label each, the synset that they show.

    Args:
        classes: class names by index, as in a training run; by default the first names of the words file, those that
            several synsets have being followed by the id.
        tree: file of parent and child synsets, such as wordnet.is_a.txt, absolute or below data.root: classification
            measures the hierarchical error with it, see `metrics.hierarchy`. None measures none.
    """

    gives: tuple[str, ...] = ("image", "label")

    def __init__(
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        tree: Annotated[str, Len(1, 4096)] | None = None,
    ) -> None:
        require_split(split)
        self.decoding = with_exif(decoding, exif)
        self.root = require_root(root)
        words = _words(root)
        require_two(words.names, printable(words.path))
        self.info = _info(words, classes, tree=None if tree is None else root / tree)
        part = _part(root, "train" if split == "train" else "val", words)
        seen = sorted(set(part.synsets))
        named = dict(zip(words.synsets, words.names, strict=True))
        where = printable(words.path)
        index = dict(zip(seen, match([named[one] for one in seen], self.info.classes, where), strict=True))
        self._labels = torch.tensor([index[synset] for synset in part.synsets])
        self._files = part.files
        self.names: Sequence[str] = [printable(file) for file in part.files]
        self.faults: list[Fault] = part.faults
        self.notes = part.notes
        if len(seen) < len(self.info.classes):
            few = f"images of {len(seen)} of {len(self.info.classes)} classes; the numbers of all stay as they are"
            advice = f"for a network of fewer classes, leave their lines alone in {words.path.name}"
            is_numbered = any(path.suffix != ".csv" for path in part.lists)
            sort = ", and sort the images into folders of synsets, as the list numbers all" if is_numbered else ""
            self.notes.append(f"{few}: {advice}{sort}")
        lists = [file for path in part.lists for file in files_of(path)]
        self.set_files = (words.path, *lists, *([] if tree is None else [root / tree]))
        self.origin = origin_of(root, split, ignored=part.ignored)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {"label": self._labels[index]}


class _Part(NamedTuple):
    files: list[str]  # below the root
    synsets: list[str]
    lists: list[Path]
    faults: list[Fault]
    notes: list[str]
    ignored: int


def _info(words: Words, classes: Sequence[str] | None, *, tree: Path | None) -> DataInfo:
    """The classes, their synsets ("" of those that the words file lacks), and the tree above the file's synsets."""
    known = words.names if classes is None else tuple(classes)
    synset_of = dict(zip(words.names, words.synsets, strict=True))
    return DataInfo(
        classes=known,
        synsets=tuple(synset_of.get(name, "") for name in known),
        tree=() if tree is None else read_tree(tree, words.synsets),
    )


def _words(root: Path) -> Words:
    paths = [path for name in _WORDS if (path := _list_at(root, name))]
    if not paths:
        problem = f"{printable(root)} has neither {' nor '.join(_WORDS)}, whose lines say which classes there are"
        raise DataError(f"{problem}: put one there, with all 1,000 lines where weights of ImageNet are used")
    words = [read_words(path) for path in paths]
    if len(words) > 1 and words[0].synsets != words[1].synsets:
        raise DataError(f"{printable(root)}: {' and '.join(_WORDS)} have different synsets: take one of them away")
    return words[0]


def _list_at(root: Path, name: str) -> Path | None:
    return next((path for folder in (*_KITS, *_BASES) if (path := root / folder / name).is_file()), None)


def _part(root: Path, part: str, words: Words) -> _Part:
    base = next(root / name for name in _BASES if (root / name).is_dir())
    folder = base / part
    if folders := [name for name in subfolders(folder) if holds_image(folder / name)]:
        return _sorted(root, folder, folders, words)
    flat = next((one for one in (folder, root / "images") if one.is_dir() and holds_image(one)), None)
    lists = [path for name in list_names(part) if (path := _list_at(root, name))]
    if flat is None or (part == "train" and not lists):
        looked_for = [f"{prefix}/{part}/<synset>/*.JPEG" for prefix in _BASES[:-1]]
        looked_for += [f"{part}/<synset>/*.JPEG", f"{part}.txt with {part}/*.JPEG or images/*.JPEG"]
        raise missing_split(root, part, looked_for)
    if not lists:
        problem = f"{printable(flat)} has images and no folders of synsets, and there is no list of their classes"
        raise DataError(f"{problem}; looked for {', '.join(list_names(part))}: put one into data.root")
    return _listed(root, flat, lists, words)


def _sorted(root: Path, folder: Path, names: Sequence[str], words: Words) -> _Part:
    """The images of a part whose folders are called as synsets."""
    if odd := [name for name in names if not SYNSET.fullmatch(name)]:
        problem = f"{printable(folder)} has {len(odd)} folders that are called otherwise than synsets"
        first = quoted(printable(odd[0]))
        raise DataError(f"{problem}, such as {first}; expected n01440764 and the like: rename them by the words file")
    if unknown := [name for name in names if name not in words.synsets]:
        listed = shortened(", ".join(unknown))
        raise DataError(
            f"{printable(folder)}: {printable(words.path)} has no line of {listed}: add it, or take it away"
        )
    files = [entry.name for entry in folder.iterdir() if entry.is_file() and not is_junk(entry.name)]
    if stray := list(filter(is_image_name, files)):
        problem = f"{printable(folder)} has folders of synsets, and {len(stray)} images beside them, of no synset"
        raise DataError(f"{problem}, such as {printable(min(stray))}: sort them into the folders, or take them away")
    listings = [(name, walk(folder / name)) for name in names]
    prefix = folder.relative_to(root).as_posix()
    files = [(f"{prefix}/{name}/{file}", name) for name, listing in listings for file in listing.files]
    for file, synset in files:
        _require_named(file, synset, f"the folder {synset}")
    synsets = [synset for _, synset in files]
    return _joined([file for file, _ in files], synsets, [one for _, one in listings], [])


def _listed(root: Path, folder: Path, lists: list[Path], words: Words) -> _Part:
    """The images of a flat folder, of which lists say the synsets."""
    listing = walk(folder)
    if len(set(map(stem_of, listing.files))) != len(listing.files):
        raise DataError(f"{printable(folder)}: two images differ in the ending of their names only: rename one")
    is_shared = folder == root / "images"
    labels, *others = [read_labels(path, listing.files, words, is_whole=not is_shared) for path in lists]
    for other in others:
        require_agreement(labels, other)
    names = [file for file in listing.files if stem_of(file) in labels]
    said = [labels[stem_of(file)] for file in names]
    for file, one in zip(names, said, strict=True):
        _require_named(file, one.synset, one.where)
    prefix = folder.relative_to(root).as_posix()
    return _joined([f"{prefix}/{file}" for file in names], [one.synset for one in said], [listing], lists)


def _joined(files: list[str], synsets: list[str], listings: Sequence[Listing], lists: list[Path]) -> _Part:
    clashes = [f"file names differ in case only: {clash}" for listing in listings for clash in listing.clashes]
    faults = [fault for listing in listings for fault in listing.faults]
    return _Part(files, synsets, lists, faults, clashes, sum(listing.ignored for listing in listings))


def _require_named(file: str, synset: str, where: str) -> None:
    """Raises DataError where an image is named after another synset than its folder or line says."""
    named = SYNSET.match(file.rpartition("/")[2])
    if named and named[0] != synset:
        problem = f"{where} says {synset} of {printable(file)}, whose name says {named[0]}"
        raise DataError(f"{problem}: put it right, or rename the image")
