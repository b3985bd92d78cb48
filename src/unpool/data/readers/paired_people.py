"""People to learn from, and pairs of other people to verify."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len

from unpool.data.image_file import printable
from unpool.data.readers.pair_lists import Face, Pair, check_pairs, draw_pairs
from unpool.data.readers.person_folders import Album, require_unlearned
from unpool.data.readers.person_images import PersonImages, Shown, Single, drawn_people, paired, require_two_images
from unpool.data.readers.splits import Split
from unpool.errors import DataError
from unpool.types import MEASURED, Decoding

ListName = Annotated[str, Len(1, 4096)]
_SHOWN = 5
_NOTHING = Album({}, [], [], 0)


class PairedPeople(PersonImages):
    """In training the images of people; in evaluation those of pairs, and of pairs of people who were held back.

    Args:
        root: of the set.
        split: train, or one whose pairs these are.
        people: files of each person that may be learned from.
        pairs: to measure; empty in training.
        listing: name of what lists the people, or the pairs, for messages.
        classes: names of the people of training; None takes those that are learned.
        decoding: of the images.
        calibrating: share of `people` that are held back: their pairs choose the threshold.
        seed: of drawing them.
        single: what is done with people of one image.
        album: faults, notes and the number of files left out, where folders of people were read.

    Raises:
        DataError: see `check_pairs`; or somebody of the pairs is among `people` or `classes`, or somebody of `classes`
            would choose the threshold.
    """

    def __init__(  # noqa: PLR0913, what the readers of pairs have as options
        self,
        root: Path,
        split: Split,
        *,
        people: Mapping[str, Sequence[str]],
        pairs: Sequence[Pair],
        listing: str,
        classes: Sequence[str] | None,
        decoding: Decoding,
        calibrating: float,
        seed: int,
        single: Single,
        album: Album = _NOTHING,
    ) -> None:
        kept, faults = require_two_images(people, single, listing) if people else ([], [])
        held = drawn_people(kept, calibrating, seed)
        learned = [person for person in kept if person not in held]
        known = tuple(learned if classes is None else classes)
        parts: dict[str, Any] = {"classes": known, "decoding": decoding, "notes": album.notes}
        parts |= {"origin": {"split": split, "ignored": album.ignored}, "faults": [*album.faults, *faults]}
        if split == "train":
            require_known(learned, known, listing)
            shown = [Shown(Face(file, person), MEASURED) for person in learned for file in people[person]]
            super().__init__(root, shown, pairs=None, **parts)
            return
        require_unlearned(held, classes, "data.calibrating and data.seed")
        check_pairs(root, pairs, listing)
        _require_strangers(pairs, [*known, *kept], listing)
        every = [*pairs, *draw_pairs({person: people[person] for person in held})]
        parts["faults"] = album.faults
        super().__init__(root, paired(every), pairs=every, **parts)


def require_known(learned: Sequence[str], classes: Sequence[str], listing: str) -> None:
    """Raises DataError where people are to be learned from whom a run does not know."""
    if unknown := sorted(set(learned) - set(classes)):
        raise DataError(f"{listing} has {len(unknown)} people who are not in data.classes, such as {unknown[0]}")


def _require_strangers(pairs: Sequence[Pair], people: Sequence[str], listing: str) -> None:
    both = sorted({face.person for pair in pairs for face in (pair.first, pair.second)} & set(people))
    if both:
        named = ", ".join(map(printable, both[:_SHOWN]))
        raise DataError(
            f"{listing} has {len(both)} people who are learned from, or choose the threshold, such as {named}: scores "
            "would show what was learned by heart; take them out of one of the lists"
        ).of("data.subject_leak")
