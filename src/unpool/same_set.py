"""A resumed run must meet the images that it began with."""

from collections.abc import Sequence

from unpool.assemble import Data
from unpool.errors import DataError
from unpool.run_directory import RunDirectory

_LISTED = 5


def check_same_set(directory: RunDirectory, data: Data) -> None:
    """Compares both splits and the classes with what the run wrote down before its first step.

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
    classes = directory.read_json("config.json")["info"]["classes"]
    if list(data.info.classes) != classes:
        differences.append(f"the classes are {list(data.info.classes)[:20]} and were {classes[:20]}")
    if differences:
        raise DataError(
            f"the data is not that of this run: {'; '.join(differences)}. Put it back as it was, or start a new run"
        )


def _told(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{what} {', '.join(names[:_LISTED])}{more}"] if names else []
