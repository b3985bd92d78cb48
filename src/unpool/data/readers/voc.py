"""PASCAL VOC: JPEGImages/*.jpg, Annotations/*.xml, and lists of names in ImageSets/Main/<split>.txt.

Boxes count pixels from 1 and hold their last one: each becomes left - 1, top - 1, right, bottom. One whose last pixel
is not beyond its first is a click and is left out. Difficult objects are kept, with a flag. An image without an
annotation file is a background. Classes are the names in the files of the training split, in the order of the alphabet.

Source: Everingham et al. 2010, "The PASCAL Visual Object Classes (VOC) Challenge".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from unpool.data.classes import case_clashes, match, nfc
from unpool.data.image_file import Unreadable, printable
from unpool.data.readers.box_checks import Things, require_annotated
from unpool.data.readers.boxed_images import BoxedImages, header_sizes
from unpool.data.readers.splits import (
    WHOLE,
    Drawn,
    Split,
    Together,
    drawn_images,
    origin_of,
    require_split,
    with_exif,
)
from unpool.data.readers.voc_lists import ANNOTATIONS, IMAGES, find_images
from unpool.data.readers.voc_xml import VocFile, read_voc_file
from unpool.data.root import require_root
from unpool.errors import require_files
from unpool.limits import Seed, ValShare
from unpool.types import RGB, DataInfo, Decoding, Exif, Fault

_Files = Mapping[str, VocFile | Fault | None]  # by image; None of one without an annotation file


class Voc(BoxedImages):
    """Images and the boxes of their objects, as VOC 2007 and 2012 have them.

    Args:
        classes: class names by index, as in a training run; files with other names are refused.
        allow_background: more than half of the images may lack an annotation file.
        val_share: part drawn for validation if there is no val.txt; with 1, a root without lists is all val, and all
            test.
        seed: of that drawing.
        together: names of images that the drawing keeps together, in groups, as it does those of equal files.
    """

    whole_options = WHOLE

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        allow_background: bool = False,
        val_share: ValShare = 0.2,
        seed: Seed = 0,
        together: Together = (),
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        listed = find_images(require_root(root), split, Drawn.of(val_share, seed, together))
        trained = listed.trained if classes is None else []
        files = {image: _read(root, image) for image in dict.fromkeys([*listed.images, *trained])}
        known = tuple(_names(files, trained or listed.images) if classes is None else classes)
        kept = drawn_images(root, listed.images, split, listed.drawn)
        images = [image for image in kept if not isinstance(files[image], Fault)]
        has_file = [files[image] is not None for image in images]
        backgrounds = require_annotated(
            images, has_file, looked_in=printable(root / ANNOTATIONS), allow_background=allow_background
        )
        things = _things(images, files, known, printable(root / ANNOTATIONS))
        super().__init__(root, images, _sizes(root, images, files, decoding), things, decoding=decoding)
        self.info = DataInfo(classes=known)
        self.faults = [*listed.faults, *(one for image in kept if isinstance(one := files[image], Fault))]
        self.notes += [*backgrounds, *_counted_from_zero(images, files)]
        self.notes += [*_named_otherwise(files), *case_clashes(known)]
        annotated = [_annotation(image) for image, one in files.items() if one is not None]
        self.set_files = (*listed.set_files, *(root / file for file in annotated))
        self.origin = origin_of(root, split, ignored=listed.ignored, drawn=listed.drawn)


def _annotation(image: str) -> str:
    """Returns the path of the annotation file of an image, both below the root."""
    inside = PurePosixPath(image).relative_to(IMAGES)
    return (ANNOTATIONS / inside.with_suffix(".xml")).as_posix()


def _read(root: Path, image: str) -> VocFile | Fault | None:
    file = _annotation(image)
    try:
        return read_voc_file(root / file)
    except FileNotFoundError:
        return None
    except Unreadable as error:
        return Fault(printable(file), error.fault.reason)
    except OSError as error:
        require_files(error)
        return Fault(printable(file), f"cannot read ({error.strerror or error})")


def _names(files: _Files, images: Sequence[str]) -> list[str]:
    """Returns the names of all objects on the images, sorted."""
    annotated = [one for image in images if isinstance(one := files[image], VocFile)]
    return sorted({nfc(thing.name) for one in annotated for thing in one.objects})


def _things(images: Sequence[str], files: _Files, classes: Sequence[str], where: str) -> Things:
    """Returns the objects of the images; boxes end at the outer edge of their last pixel."""
    annotated = [(index, one) for index, image in enumerate(images) if isinstance(one := files[image], VocFile)]
    rows = [(index, number, thing) for index, one in annotated for number, thing in enumerate(one.objects, start=1)]
    stored = np.array([thing.box for _, _, thing in rows], np.float32).reshape(-1, 4)
    low, high = stored[:, :2], stored[:, 2:]
    names = sorted({nfc(thing.name) for _, _, thing in rows})
    label_of = dict(zip(names, match(names, classes, where), strict=True))

    def record(row: int) -> str:
        index, number, _ = rows[row]
        return f"{_annotation(images[index])}, object {number}"

    return Things(
        image=np.array([index for index, _, _ in rows], np.int64),
        boxes=np.concatenate([low - 1, np.where(high > low, high, np.minimum(high, low - 1))], axis=1),
        labels=np.array([label_of[nfc(thing.name)] for _, _, thing in rows], np.int64),
        record=record,
        more={"difficult": np.array([thing.is_difficult for _, _, thing in rows], bool)},
    )


def _sizes(root: Path, images: Sequence[str], files: _Files, decoding: Decoding) -> list[tuple[int, int]]:
    """Returns (height, width) of the images as their files have them, of backgrounds as they will be decoded."""
    sizes = {image: one.size_hw for image in images if isinstance(one := files[image], VocFile)}
    backgrounds = [image for image in images if image not in sizes]
    sizes |= dict(zip(backgrounds, header_sizes(root, backgrounds, decoding), strict=True))
    return [sizes[image] for image in images]


def _counted_from_zero(images: Sequence[str], files: _Files) -> list[str]:
    """Returns a sentence on boxes that begin at 0, as those of a set do that counts pixels from there."""
    annotated = [(image, one) for image in images if isinstance(one := files[image], VocFile)]
    zero = [image for image, one in annotated if any(0 in thing.box[:2] for thing in one.objects)]
    if not zero:
        return []
    doubt = f"{len(zero)} annotation files have boxes that begin at 0, such as {printable(_annotation(zero[0]))}"
    return [f"{doubt}: VOC counts from 1, and all boxes are read so; if this set counts from 0, they lie 1 pixel off"]


def _named_otherwise(files: _Files) -> list[str]:
    """Returns a sentence on annotation files that say to be of another image of the set."""
    annotated = {image: one.filename for image, one in files.items() if isinstance(one, VocFile)}
    stems = {PurePosixPath(image).stem for image in annotated}
    stated = {image: PurePosixPath(name.replace("\\", "/")).stem for image, name in annotated.items()}
    others = [image for image, stem in stated.items() if stem in stems and stem != PurePosixPath(image).stem]
    if not others:
        return []
    example = f"{printable(_annotation(others[0]))}, which names {printable(annotated[others[0]])}"
    doubt = f"{len(others)} annotation files name another image of the set in <filename>, such as {example}"
    return [f"{doubt}: each is taken for the image of its own name; if files were renamed, look at some boxes"]
