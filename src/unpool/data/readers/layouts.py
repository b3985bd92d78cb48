"""Folders that are laid out for something else than the reader takes them for, and the recipe that fits them.

A name alone refuses nothing that may be meant: every check has a way out, such as data.classes for classes that are
really called images and masks.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePath
from typing import NamedTuple

from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, is_junk, subfolders, walk
from unpool.data.readers.split_names import SPLIT_NAMES, has_image, split_meant

_IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb"})
_TARGETS = frozenset(
    {
        *("masks", "mask", "segmentationclass", "segmentationobject", "segmentations", "labels", "annotations"),
        *("annots", "gt", "groundtruth", "label", "annotation", "segmentation_masks", "seg", "gtfine"),
    }
)
_BESIDE = frozenset({"imagesets", "overlays", "visualizations"})  # what may lie beside these
_COLLECTIVE = frozenset({"all", "data", "dataset", "images", "new folder", "other files", "untitled folder"})
_BOXES = {".txt": ("YOLO", "yolo_ssd"), ".xml": ("PASCAL VOC", "voc_fasterrcnn")}  # form of the files and its recipe


class Look(NamedTuple):
    """What folders look like.

    Attributes:
        what: they are, a clause.
        instead: what to do.
        recipe: that `instead` names.
        rename: what that recipe needs renamed, if anything.
    """

    what: str
    instead: str
    recipe: str = ""
    rename: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.instead}"


def look_at(root: Path, whole: Path | None = None) -> Look | None:
    """What the folders of a root are, where that is certain: never classes of images, nor a folder of photographs.

    `whole` is the root of the set, where `root` is the folder of one split.
    """
    return (
        _look_at_splits(root)
        or _look_at_targets(root, whole)
        or _look_at_samples(root)
        or _look_at_groups(root)
        or _look_deeper(root)
    )


def look_at_photographs(root: Path) -> Look | None:
    """What the folders of a root are, where certainly not all below it are photographs to learn from alike."""
    names = {name.casefold(): name for name in subfolders(root)}
    if {"noisy", "clean"} <= set(names):
        return Look(f"{_named(root, ['noisy', 'clean'])} are pairs", f"use pairs_unet with data.root={printable(root)}")
    look = _look_at_targets(root)
    images = next((names[name] for name in sorted(_IMAGES & set(names))), None)
    if look is None or images is None:
        return _look_at_splits(root)
    return Look(look.what, f"set data.root={printable(root / images)} for the photographs alone; {look.instead}")


def note_on_classes(root: Path) -> list[str]:
    """A sentence where photographs lie in folders as classes do, for a reader that does not use their names."""
    look = None if _loose(root) else _look_at_classes(root)
    return [str(look)] if look else []


def hint(root: Path, recipe: str = "") -> str:
    """What the root looks like, to be added to an error of a reader that does not find its folders; may be empty.

    Advice to use `recipe`, which is that of the reader itself, is left out.
    """
    look = look_at(root) or _look_at_classes(root) or _look_at_classes(root / "train") or _look_at_files(root)
    if look and recipe and look.recipe == recipe:
        return f". {_began(look.what)}: rename {look.rename}" if look.rename else ""
    return f". {_began(str(look))}" if look else ""


def _began(clause: str) -> str:
    return clause[:1].upper() + clause[1:]


def doubtful(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Sentences on class folders that may not be meant: names of whole collections, and most classes of one image."""
    sentences = [
        f"folder '{name}' beside class folders is taken for a class" for name in names if name.casefold() in _COLLECTIVE
    ]
    if (single := sum(count == 1 for count in counts)) * 2 > len(counts):
        sentences.append(f"{single} of {len(counts)} classes have one image each, which is not enough to learn one")
    return sentences


def _look_at_splits(root: Path) -> Look | None:
    meant = {name: split for name in subfolders(root) if (split := split_meant(name)) and has_image(root / name)}
    wrong = [name for name, split in meant.items() if name not in SPLIT_NAMES[split]]
    if len(set(meant.values())) < 2 and not (wrong and len(meant) == 1 == len(_holding(root, most=2))):
        return None
    if wrong:
        renamed = " and ".join(f"'{printable(name)}' to '{meant[name]}'" for name in wrong)
        return Look(f"{_named(root, list(meant))} are splits", f"rename {renamed}")
    if any(_holding(root / name, most=1) for name in meant):
        return None
    inside = f"{printable(root / min(meant))}/<class>/*.jpg"
    return Look(
        f"{_named(root, list(meant))} are splits without class folders",
        f"put the images of each class into a folder, {inside}; images without classes are for folder_dncnn",
    )


def _look_at_targets(root: Path, whole: Path | None = None) -> Look | None:
    names = {name.casefold(): name for name in subfolders(root)}
    images, targets = (sorted(known & set(names)) for known in (_IMAGES, _TARGETS))
    if not images or not targets:
        return None
    first = names[images[0]]
    pairs = [first, *(names[target] for target in targets)]
    others = [name for name in _holding(root) if name.casefold() not in _IMAGES | _TARGETS | _BESIDE]
    if others and not _share_stems(root / first, root / names[targets[0]]):
        return None
    for target in targets:
        if has_image(root / names[target]):
            named = ((first, "images"), (names[target], "masks"))
            renamed = " and ".join(f"{printable(old)} to {new}" for old, new in named if old != new)
            instead = f"use folder_unet with data.root={printable(whole or root)}"
            instead += f", after renaming {renamed}" if renamed else ""
            what = f"{_named(root, [first, names[target]])} are images and their masks"
            return Look(what, instead, "folder_unet", renamed)
    kinds = _suffixes(root / names[targets[0]])
    if kinds[".json"]:
        recipes = "coco_fasterrcnn for boxes, or coco_simple_baselines for the joints of people"
        return Look(f"{_named(root, pairs)} are a set of COCO", f"use {recipes}")
    form, recipe = next((known for suffix, known in _BOXES.items() if kinds[suffix]), ("", ""))
    if not form:
        return None
    boxes = f"{_named(root, pairs)} are images and their boxes ({form})"
    advice = f"use {recipe} with data.root={printable(whole or root)}; for classes alone, put the images of each into a"
    return Look(boxes, f"{advice} folder of its own", recipe)


def _look_at_samples(root: Path) -> Look | None:
    """One folder a sample, each with its image and its masks."""
    folders = subfolders(root)
    if len(folders) < 2 or not all(_look_at_targets(root / name) for name in folders):
        return None
    what = f"each of the {len(folders)} folders of {printable(root)} holds one sample and its masks"
    return Look(what, "put all images into images and one mask of each into masks, and use folder_unet")


def _look_at_groups(root: Path) -> Look | None:
    """Folders of folders with equal names, such as folds with the classes in each."""
    groups = _groups(root)
    if len(groups) < 2:
        return None
    inner = list(groups.values())
    common, every = set.intersection(*inner), set.union(*inner)
    if len(common) < 2 or 2 * len(common) < len(every):
        return None
    shown = " and ".join(f"'{printable(name)}'" for name in sorted(common)[:3]) + (" ..." if len(common) > 3 else "")
    what = f"{_named(root, list(groups))} hold the same folders, {shown}"
    return Look(
        what, "if those inside are the classes, name the outer ones train, val and test, or set data.root to one"
    )


def groups_of(root: Path) -> list[str]:
    """A sentence where each class folder holds folders of images only, under names of their own."""
    groups = _groups(root)
    if len(groups) < 2 or min(map(len, groups.values())) < 2:
        return []
    inside = ", ".join(f"{printable(name)}/{printable(min(inner))}" for name, inner in islice(groups.items(), 2))
    return [f"each class folder holds folders of images, such as {inside}: the outer ones are taken for the classes"]


def _groups(root: Path) -> dict[str, set[str]]:
    """Names of the folders with images in each folder that holds an image; none where one has images in itself."""
    groups: dict[str, set[str]] = {}
    for name in _holding(root):
        if _loose(root / name):
            return {}
        groups[name] = set(_holding(root / name))
    return groups


def _look_deeper(root: Path) -> Look | None:
    """A folder that holds the whole set, one level below the root."""
    folders = _holding(root, most=2)
    if len(folders) != 1:
        return None
    inner = root / folders[0]
    within, look = _holding(inner, most=2), _look_at_splits(inner) or _look_at_targets(inner)
    if _loose(inner) or not (len(within) > 1 or look or any(map(split_meant, within))):
        return None
    what = f"the set lies one folder deeper, in {printable(inner)}"
    return Look(what, f"set data.root={printable(inner)}" + (f"; {look}" if look else ""))


def _look_at_classes(root: Path) -> Look | None:
    folders = [name for name in _holding(root, most=6) if not split_meant(name)]
    if len(folders) < 2:
        return None
    return Look(
        f"{_named(root, folders)} hold images each", "if they are classes, use folder_resnet18", "folder_resnet18"
    )


def _look_at_files(root: Path) -> Look | None:
    if not (loose := _loose(root)):
        return None
    what = f"{len(loose)} images lie in {printable(root)} itself, such as {printable(loose[0])}"
    return Look(
        what, "put those of each class into a folder of its own; photographs without classes are for folder_dncnn"
    )


def _named(root: Path, folders: Sequence[str]) -> str:
    shown = [f"'{printable(name)}'" for name in folders[:5]] + (["..."] if len(folders) > 5 else [])
    return f"the folders {' and '.join(shown) if len(shown) == 2 else ', '.join(shown)} in {printable(root)}"


def _holding(root: Path, *, most: int | None = None) -> list[str]:
    """The first `most` folders that hold an image."""
    return list(islice((name for name in subfolders(root) if has_image(root / name)), most))


def _loose(folder: Path) -> list[str]:
    """Images in a folder itself."""
    inside = folder.iterdir() if folder.is_dir() else ()
    return sorted(e.name for e in inside if is_image_name(e.name) and not is_junk(e.name) and e.is_file())


def _suffixes(folder: Path) -> Counter[str]:
    return walk(folder).others


def _share_stems(images: Path, targets: Path) -> bool:
    """Whether most target files have the name of an image."""
    names = {PurePath(file).stem for file in walk(images).files}
    stems = [path.stem for path in targets.rglob("*") if path.is_file() and not is_junk(path.name)]
    return bool(stems) and 2 * sum(stem.removesuffix("_mask") in names for stem in stems) > len(stems)
