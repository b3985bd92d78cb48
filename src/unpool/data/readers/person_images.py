"""What readers of people have in common: images with a person each, and in evaluation what each image is for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
from annotated_types import Interval
from torch import Tensor

from unpool.data.draws import permutation
from unpool.data.image_file import printable
from unpool.data.measure import Measure
from unpool.data.readers.image_files import ImageFiles
from unpool.data.readers.pair_lists import Face, Pair
from unpool.errors import DataError
from unpool.types import PAIRED, DataInfo, Decoding, Fault, Sample

Single = Literal["refuse", "leave_out"]
Calibrating = Annotated[float, Interval(ge=0, lt=1)]  # share of people
_SHOWN = 5


class Shown(NamedTuple):
    """An image of a split: its face, and MEASURED, ENROLLED or PAIRED."""

    face: Face
    role: int


class PersonImages(ImageFiles):
    """Images below a root, the person of each, and in evaluation role, position and pairs.

    People of training are numbered as `classes` names them, all others after them, in the order of their names.

    Args:
        root: of the set.
        shown: the images of the split.
        classes: names of the people of training, by number.
        pairs: between the images; None of a training split, which has neither roles nor pairs.
        decoding: of the images.
        origin: what differs from a whole set without other files.
        faults: people and files that are left out.
        notes: on the set, in words.
    """

    def __init__(  # noqa: PLR0913, all that a reader says of its set
        self,
        root: Path,
        shown: Sequence[Shown],
        *,
        classes: Sequence[str],
        pairs: Sequence[Pair] | None,
        decoding: Decoding,
        origin: Mapping[str, Any],
        faults: Sequence[Fault] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.root, self.decoding = root, decoding
        self.info = DataInfo(classes=tuple(classes))
        self.gives: tuple[str, ...] = ("image", "identity") if pairs is None else _MEASURED_KEYS
        self._files = [one.face.file for one in shown]
        self.names: Sequence[str] = [printable(file) for file in self._files]
        others = sorted({one.face.person for one in shown} - set(classes))
        number = {person: index for index, person in enumerate([*classes, *others])}
        self._identity = torch.tensor([number[one.face.person] for one in shown], dtype=torch.int64)
        self._role = torch.tensor([one.role for one in shown], dtype=torch.int64)
        self._pairs = _by_first(self._files, pairs or ())
        self.faults: list[Fault] = [*faults]
        self.notes: list[str] = [*notes]
        self.set_files: tuple[Path, ...] = ()
        self.origin: dict[str, Any] = {"root": printable(root), "ignored": 0, "drawn": None, **origin}

    def measure(self, index: int) -> Measure:
        """Returns size and notes of one image, from its header."""
        measure = super().measure(index)
        pairs = self._pairs[index].nbytes if "pairs" in self.gives else 0
        return measure._replace(num_bytes=measure.num_bytes + pairs)

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        sample = {"identity": self._identity[index]}
        if "pairs" not in self.gives:
            return sample
        return {**sample, "role": self._role[index], "position": torch.tensor(index), "pairs": self._pairs[index]}


_MEASURED_KEYS = ("image", "identity", "role", "position", "pairs")


def _by_first(files: Sequence[str], pairs: Sequence[Pair]) -> list[Tensor]:
    """(N, 3) of each image: the others that it is paired with, whether they show the same person, and folds."""
    position = {file: index for index, file in enumerate(files)}
    rows: list[list[tuple[int, int, int]]] = [[] for _ in files]
    for pair in pairs:
        rows[position[pair.first.file]].append((position[pair.second.file], int(pair.is_same), pair.fold))
    return [torch.tensor(row, dtype=torch.int64).reshape(-1, 3) for row in rows]


def paired(pairs: Sequence[Pair]) -> list[Shown]:
    """The images of pairs, each once, in the order of their names."""
    return [Shown(face, PAIRED) for face in sorted({face for pair in pairs for face in (pair.first, pair.second)})]


def drawn_people(people: Sequence[str], share: float, seed: int) -> set[str]:
    """A share of the people, at least two of them where it is above 0, as one person makes no pair of two.

    Example:
        >>> len(drawn_people([f"p{i}" for i in range(20)], 0.2, 0)), drawn_people(["a", "b", "c"], 0.0, 0)
        (4, set())
    """
    if not share:
        return set()
    count = min(max(2, round(share * len(people))), len(people))
    return {sorted(people)[i] for i in permutation(seed, 0, len(people)).tolist()[:count]}


def require_two_images(
    people: Mapping[str, Sequence[str]], single: Single, where: str
) -> tuple[list[str], list[Fault]]:
    """The people with two images or more, and the others as faults.

    Raises:
        DataError: there are others, and they are not to be left out; or too few are left to compare.
    """
    alone = sorted(person for person, files in people.items() if len(files) < 2)
    if alone and single == "refuse":
        more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
        raise DataError(
            f"{where}: {len(alone)} people have one image, such as {', '.join(alone[:_SHOWN])}{more}, which can be "
            "compared with none of theirs: add images, or set data.single=leave_out"
        )
    kept = sorted(set(people) - set(alone))
    if len(kept) < 2:
        raise DataError(f"{where}: {len(kept)} people with two images or more; expected at least two people")
    return kept, [Fault(printable(person), "one image, compared with none: left out") for person in alone]
