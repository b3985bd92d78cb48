"""A resumed run must meet the images that it began with, and every reader the names that the network learned."""

from collections.abc import Mapping, Sequence

from unpool.assemble.data import Data
from unpool.errors import DataError
from unpool.run_directory import RunDirectory
from unpool.types import DataInfo

_LISTED = 5
_NAMES = {"classes": "classes", "keypoints": "joints"}
_DRAWN = {"flip_pairs": "joints that trade places in a mirror", "limbs": "limbs"}


def check_same_set(directory: RunDirectory, data: Data) -> None:
    """Compares both splits, the names and what belongs to joints with what the run wrote down before its first step.

    Raises:
        DataError: images came, went or changed places; a file that was validated on might now be trained on.
    """
    before = directory.read_json("data.json")
    differences = []
    for split, found in (("train", data.train), ("val", data.val)):
        then, now = before[split]["names"], list(found.samples.names)
        if then != now:
            gone, new = sorted(set(then) - set(now)), sorted(set(now) - set(then))
            told = _told("lacks", gone) + _told("has besides", new) or ["lists its images in another order"]
            differences.append(f"{split} {' and '.join(told)}")
    known = DataInfo.from_json(directory.read_json("config.json")["info"])
    differences += _unlike(data.info, known, _NAMES | _DRAWN)
    if differences:
        raise DataError(
            f"the data is not that of this run: {'; '.join(differences)}. Put it back as it was, or start a new run"
        )


def check_same_names(found: DataInfo, known: DataInfo, *, called: str) -> None:
    """Raises DataError where the reader `called` has other classes or joints than `known`, or in another order."""
    if differences := _unlike(found, known, _NAMES):
        raise DataError(f"{called} differs in its names: {'; '.join(differences)}. They must be the same, in order")


def _unlike(found: DataInfo, known: DataInfo, fields: Mapping[str, str]) -> list[str]:
    pairs = [(title, list(getattr(found, name)), list(getattr(known, name))) for name, title in fields.items()]
    return [f"the {title} are {now[:20]} and were {then[:20]}" for title, now, then in pairs if now != then]


def _told(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{what} {', '.join(names[:_LISTED])}{more}"] if names else []
