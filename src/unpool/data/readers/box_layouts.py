"""What a folder holds of boxes that its reader does not find: their format, and what to rename or to set."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, subfolders
from unpool.data.readers.split_names import split_meant
from unpool.data.readers.splits import not_there
from unpool.errors import DataError

_HEAD = 1 << 16  # bytes of a JSON file, in which one of COCO names its first list
_MOST = 20  # folders that are looked into


class _Look(NamedTuple):
    """What was found, a clause, and what has to change for its reader, if anything."""

    what: str
    change: str = ""


def missing_boxes(root: Path, split: str, looked_for: Sequence[str], reader: str) -> DataError:
    """Returns the error for a root that lacks the split of a reader of boxes, with what its folders hold instead."""
    return DataError(not_there(root, split, looked_for) + box_hint(root, split, reader))


def box_hint(root: Path, split: str, reader: str) -> str:
    """Returns a sentence on the boxes that a root or a folder in it holds; empty where it holds none.

    Args:
        root: of the set.
        split: that is looked for.
        reader: that looks for it; it is looked at first, so that no other is named where its own files are there.
    """
    names = sorted(_LOOKS, key=lambda name: name != reader)
    for folder in (root, *(root / name for name in subfolders(root)[:_MOST])):
        for name in names:
            if look := _LOOKS[name](folder, split):
                steps = [
                    *([f"set data.root={printable(folder)}"] if folder != root else []),
                    *([f"set data.reader={name}"] if name != reader else []),
                    *([look.change] if look.change else []),
                ]
                return f". {look.what}: {', and '.join(steps)}" if steps else ""
    return ""


def _look_for_coco(root: Path, split: str) -> _Look | None:
    part = "train2017" if split == "train" else "val2017"
    expected = f"annotations/instances_{part}.json"
    files = sorted(path for pattern in ("*.json", "*/*.json") for path in root.glob(pattern) if _is_of_coco(path))
    names = [path.relative_to(root).as_posix() for path in files]
    if expected in names:
        return _Look(f"{expected} is a file of COCO")
    wanted = {"train"} if split == "train" else {"val", "test"}
    name = next((name for name in names if wanted & (_splits(name) or wanted)), None)
    if name is None:
        return None
    return _Look(f"{printable(name)} is a file of COCO", f"rename it to {expected}, and its images' folder to {part}")


def _splits(name: str) -> set[str]:
    """Returns the splits that the words of a path mean."""
    words = re.split(r"[^a-z]+", name.casefold())
    return {split for word in words if (split := split_meant(word))}


def _is_of_coco(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return b'"images"' in head or b'"annotations"' in head


def _look_for_voc(root: Path, _: str) -> _Look | None:
    folders = {name.casefold(): name for name in subfolders(root)}
    images = next((folders[name] for name in ("jpegimages", "images") if name in folders), None)
    boxes = next((folders[name] for name in ("annotations", "labels") if name in folders), None)
    if images and boxes and any((root / boxes).glob("*.xml")):
        pairs = ((images, "JPEGImages"), (boxes, "Annotations"))
        renamed = [f"rename {printable(old)} to {new}" for old, new in pairs if old != new]
        return _Look(f"{printable(boxes)} holds .xml files of VOC", ", and ".join(renamed))
    if folder := _beside(root, ".xml"):
        change = "put the images into JPEGImages, these into Annotations, and lists of names into ImageSets/Main"
        return _Look(f"{printable(folder)} holds images and .xml files of VOC", change)
    return None


def _look_for_yolo(root: Path, _: str) -> _Look | None:
    if (root / "data.yaml").is_file():
        return _Look("data.yaml is that of YOLO")
    if any((root / "labels").glob("*.txt")) or any((root / "labels").glob("*/*.txt")):
        return _Look("labels holds .txt files, as YOLO's does")
    folder = _beside(root, ".txt")
    return _Look(f"{printable(folder)} holds images and .txt files, as YOLO's do") if folder else None


def _look_for_tables(root: Path, _: str) -> _Look | None:
    tables = sorted([*root.glob("*.csv"), *(root / "annotations").glob("*.csv")])
    return _Look(f"{printable(tables[0].relative_to(root))} may be a table of boxes") if tables else None


def _beside(root: Path, suffix: str) -> Path | None:
    """Returns the first folder, or one in it, that holds an image and a file of its name and this suffix."""
    for folder in (root, *(root / name for name in subfolders(root)[:_MOST])):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if any(is_image_name(name) and f"{Path(name).stem}{suffix}" in names for name in names):
            return folder
    return None


_LOOKS: Mapping[str, Callable[[Path, str], _Look | None]] = MappingProxyType(
    {
        "coco_instances": _look_for_coco,
        "voc": _look_for_voc,
        "yolo": _look_for_yolo,
        "boxes_csv": _look_for_tables,
    }
)
