"""A folder for each person, and pairs to verify in CSV files: first, second, same and, where there are several, fold.

All people whom no list of pairs names are learned from, but for a share that is held back to choose the threshold.
Files are paths below the root, such as `ann/1.jpg`. Faces should be aligned crops.
"""

from collections.abc import Sequence
from pathlib import Path

from unpool.data.image_file import printable
from unpool.data.readers.pair_lists import Pair, read_csv_pairs
from unpool.data.readers.paired_people import ListName, PairedPeople
from unpool.data.readers.person_folders import people_in
from unpool.data.readers.person_images import Calibrating, Single
from unpool.data.readers.splits import Split, not_there, require_split, with_exif
from unpool.data.root import require_root
from unpool.errors import DataError
from unpool.limits import Seed
from unpool.types import RGB, Decoding, Exif


class PersonPairs(PairedPeople):
    """Images with a person each, which is their folder; pairs in evaluation.

    Args:
        classes: names of the people of training, as in a training run; by default those that are learned.
        pairs: CSV file of the pairs of the val split.
        test_pairs: CSV file of the pairs of the test split.
        calibrating: share of the people of training that are held back, for the threshold.
        seed: of drawing them.
        single: what is done with people of training who have one image: "refuse" the set, or "leave_out" them.
    """

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Split,
        *,
        classes: Sequence[str] | None = None,
        decoding: Decoding = RGB,
        exif: Exif = "apply",
        pairs: ListName = "pairs.csv",
        test_pairs: ListName = "test_pairs.csv",
        calibrating: Calibrating = 0.15,
        seed: Seed = 0,
        single: Single = "refuse",
    ) -> None:
        require_split(split)
        decoding = with_exif(decoding, exif)
        require_root(root)
        listing = pairs if split == "val" else test_pairs
        if split != "train" and not (root / listing).is_file():
            raise DataError(
                f"{not_there(root, split, [listing])}. It lists pairs of images of people who are not learned from, "
                "first,second,same in its first line, then such as ann/1.jpg,bob/2.jpg,0 in each; to search for people "
                "without such a list, set data.reader=person_folders"
            )
        lists = {name: read_csv_pairs(root, name) for name in (pairs, test_pairs) if (root / name).is_file()}
        named = {face.person for listed in lists.values() for pair in listed for face in (pair.first, pair.second)}
        album = people_in(root)
        people = {person: files for person, files in album.people.items() if person not in named}
        if split == "train" and not people:
            raise DataError(
                f"{printable(root)}: the lists of pairs name everybody, so that nobody is left to learn from"
            )
        listed: Sequence[Pair] = () if split == "train" else lists[listing]
        super().__init__(
            root,
            split,
            people=people,
            pairs=listed,
            listing=printable(root) if split == "train" else listing,
            classes=classes,
            decoding=decoding,
            calibrating=calibrating,
            seed=seed,
            single=single,
            album=album,
        )
        self.set_files = tuple(root / name for name in lists)
