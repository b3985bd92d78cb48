"""Which images of a PASCAL VOC tree belong to a split.

train is train.txt, else trainval.txt, else all images; val is val.txt, test is test.txt, each also by its other names,
as in Validation.txt. Without a list for val, a share of train is drawn for it, by a seed. No image may be in two of the
lists that are used.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.listing import Listing, as_posix, is_below, is_image_name, walk
from unpool.data.readers.box_layouts import missing_boxes
from unpool.data.readers.split_names import lists_of_splits
from unpool.data.readers.splits import Drawn, Split, require_apart
from unpool.data.text_file import read_text
from unpool.errors import DataError, quoted
from unpool.types import Fault

IMAGES, ANNOTATIONS = PurePosixPath("JPEGImages"), PurePosixPath("Annotations")
LISTS = "ImageSets/Main"


class Listed(NamedTuple):
    """The images of one split, as paths below the root.

    Attributes:
        images: of the split, or those that it is drawn from.
        trained: of the training split, where that is another and there is a list of it.
        drawn: the drawing, if the split is drawn.
        set_files: the lists.
        faults: names on the list that are no image.
        ignored: number of files beside the images.
    """

    images: list[str]
    trained: list[str]
    drawn: Drawn | None
    set_files: tuple[Path, ...]
    faults: list[Fault]
    ignored: int


def find_images(root: Path, split: Split, drawn: Drawn) -> Listed:
    """Finds the images of a split.

    Raises:
        DataError: the tree has no such split, a list is empty or leaves the folder of images, names none of them, or
            two share images.
    """
    if not (root / IMAGES).is_dir():
        raise missing_boxes(root, split, [f"{IMAGES}/"], "voc")
    paths = _find_lists(root)
    listing = walk(root / IMAGES)
    if split in paths and (split != "train" or "val" in paths):
        source, drawing = split, None
    elif split != "test" and "train" in paths:
        source, drawing = "train", drawn
    elif not paths and drawn.gives(split):
        stems = dict.fromkeys(_stem(file) for file in listing.files)
        return Listed(_find_files(list(stems), listing, "")[0], [], drawn, (), listing.faults, listing.ignored)
    else:
        raise missing_boxes(root, split, [f"{LISTS}/{split}.txt"], "voc")
    names = {name: _read_list(path) for name, path in paths.items()}
    require_apart(root, {name: list(map(_image, listed)) for name, listed in names.items()}, source)
    images, faults = _find_files(names[source], listing, paths[source].name)
    if not images:
        problem = f"{printable(paths[source])} names no image of {IMAGES}, such as {quoted(names[source][0])}"
        raise DataError(f"{problem}; expected names from there alone, such as 000005 or 000005.jpg, one a line")
    trained = [] if source == "train" or "train" not in names else _find_files(names["train"], listing, "")[0]
    return Listed(images, trained, drawing, tuple(paths.values()), faults, listing.ignored)


def _find_lists(root: Path) -> dict[str, Path]:
    """Returns the list of each split that has one."""
    files = [path for path in sorted((root / LISTS).glob("*.txt")) if path.is_file()]
    lists = lists_of_splits(files)
    for split, paths in lists.items():
        if len(paths) > 1:
            named = " and ".join(printable(path.name) for path in paths)
            raise DataError(f"{printable(root / LISTS)} holds {named}, both lists of {split}: move one of them away")
    both = [("train", path) for path in files if path.stem.casefold() == "trainval"]
    return dict(both) | {split: path for split, (path,) in lists.items()}


def _read_list(path: Path) -> list[str]:
    try:
        names = [as_posix(line.strip()) for line in read_text(path).splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: cannot read ({error}); save it as UTF-8 text") from error
    twice = [name for name, times in Counter(map(_image, names)).items() if times > 1]
    outside = [name for name in names if not is_below(name)]
    if not names or twice or outside:
        problem = "holds nothing" if not names else f"holds {quoted((twice or outside)[0])}{' twice' if twice else ''}"
        raise DataError(f"{printable(path)} {problem}; expected each name of an image in {IMAGES} once, one a line")
    return names


def _find_files(names: Sequence[str], listing: Listing, name_of_list: str) -> tuple[list[str], list[Fault]]:
    """Returns the image of each name, in their order, and the names of which there is none, with the reason.

    Raises:
        DataError: images of two formats have the name.
    """
    files: dict[str, list[str]] = {}
    for file in listing.files:
        for name in (_stem(file), file):
            files.setdefault(name, []).append(file)
    for name in names:
        if len(files.get(name, ())) > 1:
            both = " and ".join(printable(file) for file in files[name])
            raise DataError(f"{IMAGES} holds {both}, and one annotation of their name: rename one of them")
    images = [f"{IMAGES}/{files[name][0]}" for name in names if name in files]
    reason = f"there is no such image; {LISTS}/{name_of_list} lists it"
    return images, [Fault(printable(f"{IMAGES}/{name}"), reason) for name in names if name not in files]


def _image(name: str) -> str:
    """Returns a name of a list without the suffix of an image, which it may have."""
    return _stem(name) if is_image_name(name) else name


def _stem(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix()
