"""A folder for each person, whose first images are learned from and enrolled: ROOT/<person>/1.pgm and so on.

So people are identified among those of training, by images that were not seen. `strangers` holds people back: half of
them choose the threshold, by pairs, and the images of the other half are to be rejected. Images are in the order of
their names, numbers by their value. Faces should be aligned crops.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from annotated_types import Interval

from unpool.data.image_file import printable
from unpool.data.listing import is_image_name, is_junk, subfolders, walk
from unpool.data.readers.pair_lists import Face, draw_pairs, is_number
from unpool.data.readers.person_images import PersonImages, Shown, drawn_people, paired
from unpool.data.readers.splits import Split, missing_split, require_split, with_exif
from unpool.data.root import require_root
from unpool.errors import DataError
from unpool.limits import MANY, Seed
from unpool.types import ENROLLED, MEASURED, RGB, Decoding, Exif, Fault

_SHOWN = 5
_LEAST_HELD = 4  # two make pairs of two people, which choose the threshold, and two are to be rejected


class PersonFolders(PersonImages):
    """Images with a person each, which is their folder.

    Args:
        classes: names of the people of training, as in a training run; by default all but the strangers.
        train_images: of each person, learned from and enrolled.
        val_images: of each person, behind those, for the val split; what follows is test. None takes all that follow
            for val, and there is no test split.
        strangers: share of the people who are neither learned from nor enrolled; half of them choose the threshold.
        seed: of drawing them.
    """

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        train_images: Annotated[int, MANY] = 5,
        val_images: Annotated[int, MANY] | None = None,
        strangers: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
        seed: Seed = 0,
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        album = people_in(require_root(root))
        people = album.people
        end = None if val_images is None else train_images + val_images
        first, last = (train_images, end) if split == "val" else (end, None)
        if split == "test" and end is None:
            raise missing_split(root, split, ["images behind data.val_images, which is not set"])
        _require_images(root, people, train_images if split == "train" else (first or 0) + 1)
        held = sorted(drawn_people(list(people), strangers, seed))
        if held and not _LEAST_HELD <= len(held) <= len(people) - 2:
            raise DataError(
                f"data.strangers holds back {len(held)} of {len(people)} people; expected {_LEAST_HELD} at least, two "
                "of whom choose the threshold, and two at least to learn from"
            )
        require_unlearned(held if split != "train" else (), classes, "data.strangers and data.seed")
        calibrating, unknown = (held[::2], held[1::2]) if split == "val" else ([], held[1::2])
        learned = [person for person in people if person not in held]
        known = tuple(learned if classes is None else classes)
        if missing := sorted(set(learned) - set(known)) if split == "train" else []:
            raise DataError(f"{printable(root)} has {len(missing)} people who are not in data.classes: {missing[0]}")
        enrolled = [Face(file, person) for person in learned for file in people[person][:train_images]]
        parts: dict[str, Any] = {"classes": known, "decoding": decoding}
        parts |= {"origin": {"split": split, "ignored": album.ignored}, "faults": album.faults, "notes": album.notes}
        if split == "train":
            super().__init__(root, [Shown(face, MEASURED) for face in enrolled], pairs=None, **parts)
            return
        measured = [Face(file, person) for person in [*learned, *unknown] for file in people[person][first:last]]
        pairs = draw_pairs({person: people[person] for person in calibrating})
        shown = [*(Shown(face, ENROLLED) for face in enrolled), *(Shown(face, MEASURED) for face in measured)]
        super().__init__(root, [*shown, *paired(pairs)], pairs=pairs, **parts)


class Album(NamedTuple):
    """The people of a folder.

    Attributes:
        people: files of each, in the order of their names, numbers by their value.
        faults: what cannot be read.
        notes: what was left out, in words.
        ignored: number of files that are no images.
    """

    people: dict[str, list[str]]
    faults: list[Fault]
    notes: list[str]
    ignored: int


def people_in(root: Path, *, least: int = 2) -> Album:
    """The people below the root, each a folder of images.

    Raises:
        DataError: fewer than `least` folders have images; or one has folders with images, which may be people, the
            splits of a set or albums.
    """
    album = Album({}, [], _stray(root), 0)
    for name in subfolders(root):
        listing = walk(root / name)
        album = album._replace(ignored=album.ignored + listing.ignored)
        album.faults.extend(listing.faults)
        album.notes.extend(f"{printable(name)}: names differ in case only: {clash}" for clash in listing.clashes)
        album.notes.extend(f"{printable(name)} has {others}" for others in [listing.kinds_of_others()] if others)
        if deeper := [file for file in listing.files if "/" in file]:
            raise DataError(
                f"{printable(root / name)} has images in folders of its own, such as {printable(deeper[0])}; expected "
                "ROOT/<person>/*.jpg: give the folder of the people's folders as root, or move these images up"
            )
        if listing.files:
            album.people[name] = [f"{name}/{file}" for file in sorted(listing.files, key=_by_numbers)]
    if len(album.people) < least:
        expected = "one for each of two people" if least > 1 else "one for each person"
        raise DataError(f"{printable(root)} has {len(album.people)} folders with images; expected {expected}")
    return album


def _stray(root: Path) -> list[str]:
    stray = [e.name for e in root.iterdir() if is_image_name(e.name) and not is_junk(e.name) and e.is_file()]
    listed = f"{len(stray)} images lie outside of the folders of people, such as {printable(min(stray, default=''))}"
    return [f"{listed}: left out"] if stray else []


def require_unlearned(held: Iterable[str], classes: Sequence[str] | None, options: str) -> None:
    """Raises DataError where somebody is held back now whom the run that names `classes` has learned from."""
    if both := sorted(set(held) & set(classes or ())):
        raise DataError(
            f"{options} hold back {len(both)} people whom the run has learned from, such as {printable(both[0])}: "
            "scores would show what was learned by heart; leave the options and the people as they were in training"
        )


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """A key by which 10.pgm follows 9.pgm."""
    return [(int(part), "") if is_number(part) else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _require_images(root: Path, people: Mapping[str, Sequence[str]], least: int) -> None:
    if few := [person for person, files in people.items() if len(files) < least]:
        more = f" and {len(few) - _SHOWN} more" if len(few) > _SHOWN else ""
        counts = ", ".join(f"{printable(person)} has {len(people[person])}" for person in few[:_SHOWN])
        raise DataError(
            f"{printable(root)}: {len(few)} people have fewer than {least} images: {counts}{more}; add images, take "
            "these people out, or set data.train_images lower"
        )
