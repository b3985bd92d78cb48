"""Labeled Faces in the Wild: lfw/<Name>/<Name>_0001.jpg, lists of people to learn from, lists of pairs to verify.

`peopleTrain.txt` says how many people follow, then a name and the number of images on each line; `pairsVal.txt` how
many folds and pairs follow, then NAME 1 4 or NAME 1 OTHER 2. Some people of the training list are held back: their
pairs choose the threshold (`calibrating`). Nobody of the pairs may be learned from. Faces should be aligned crops; the
photographs of the set are centred on the face and show what surrounds it, which `data.rule` cover with a small
`data.crop` cuts off.

Source: Huang et al. 2007, "Labeled Faces in the Wild", views 1 and 2.
"""

from collections.abc import Sequence
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.listing import holds_image, subfolders
from unpool.data.readers.pair_lists import Pair, is_folder, is_number, lfw_file, numbered_lines, read_lfw_pairs
from unpool.data.readers.paired_people import ListName, PairedPeople
from unpool.data.readers.person_folders import Album
from unpool.data.readers.person_images import Calibrating, Single
from unpool.data.readers.splits import Split, missing_split, require_split, with_exif
from unpool.data.root import require_root
from unpool.errors import DataError, quoted, shortened
from unpool.limits import Seed
from unpool.types import RGB, Decoding, Exif

_FOLDERS = ("lfw", "lfw_funneled", "lfw-deepfunneled")  # or the root itself


class Lfw(PairedPeople):
    """Faces with the person of each; pairs in evaluation.

    Args:
        classes: names of the people of training, as in a training run; by default those of the list that are learned.
        people: list of people to learn from.
        pairs: list of pairs of the val split.
        test_pairs: list of pairs of the test split.
        calibrating: share of the people of the list that are held back, for the threshold.
        seed: of drawing them.
        single: what is done with people of the list who have one image: "refuse" the set, or "leave_out" them.
    """

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        people: ListName = "peopleTrain.txt",
        pairs: ListName = "pairsVal.txt",
        test_pairs: ListName = "pairsTest.txt",
        calibrating: Calibrating = 0.15,
        seed: Seed = 0,
        single: Single = "refuse",
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        require_root(root)
        folder, listing = _folder(root), pairs if split == "val" else test_pairs
        if not (root / (people if split == "train" else listing)).is_file():
            raise missing_split(root, split, [people if split == "train" else listing])
        listed: Sequence[Pair] = () if split == "train" else read_lfw_pairs(root, listing, folder)
        is_listed = (root / people).is_file()
        notes = [] if is_listed or not calibrating else [f"no {people}: nobody chooses a threshold (data.calibrating)"]
        super().__init__(
            root,
            split,
            people=read_people(root, people, folder) if is_listed else {},
            pairs=listed,
            listing=people if split == "train" else listing,
            classes=classes,
            decoding=decoding,
            calibrating=calibrating,
            seed=seed,
            single=single,
            album=Album({}, [], [printable(note) for note in notes], 0),
        )
        self.set_files = tuple(path for name in (people, listing) if (path := root / name).is_file())


def read_people(root: Path, name: str, folder: str) -> dict[str, list[str]]:
    """Files of each person of a list; lists of several folds are read as one.

    Raises:
        DataError: a line has another form, a person stands twice, their number is another, or images are missing.
    """
    people: dict[str, list[str]] = {}
    counts: list[int] = []
    for number, words in numbered_lines(root / name):
        where = f"{name} line {number}"
        if len(words) == 1 and is_number(words[0]):
            counts.append(int(words[0]))
            continue
        if len(words) != 2 or not is_number(words[1]) or int(words[1]) < 1 or not is_folder(words[0]):
            raise DataError(f"{where} is {quoted(shortened(' '.join(words)))}; expected NAME and a number of images")
        if words[0] in people:
            raise DataError(f"{where} names {words[0]} a second time: list each person once")
        people[words[0]] = [lfw_file(folder, words[0], image) for image in range(1, int(words[1]) + 1)]
    expected = sum(counts[1:] if len(counts) > 1 else counts)  # the first line of several folds counts these
    if len(people) != expected:
        raise DataError(f"{name} names {len(people)} people, and says that there are {expected}: restore the list")
    missing = [file for files in people.values() for file in files if not (root / file).is_file()]
    if missing:
        raise DataError(f"{name} counts {len(missing)} images that are missing, such as {missing[0]}: restore them")
    return people


def _folder(root: Path) -> str:
    """The folder of the images, below the root; a DataError where there is none, or which one is meant is not known."""
    held = [name for name in _FOLDERS if _holds_people(root / name)] or ([""] if _holds_people(root) else [])
    if not held:
        raise DataError(f"{printable(root)} holds no images in lfw/<Name>/<Name>_0001.jpg: check data.root")
    if len(held) > 1:
        raise DataError(
            f"{printable(root)} holds images in {' and '.join(held)}, which are aligned in different ways: leave "
            "one of them there"
        )
    return held[0]


def _holds_people(folder: Path) -> bool:
    return any(holds_image(folder / person) for person in subfolders(folder)[:3])
