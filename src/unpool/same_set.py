"""Checks that a resumed run reads the images that it began with."""

from collections.abc import Sequence

from unpool.assemble.data import Data
from unpool.data.same_names import NAMES, name_differences
from unpool.errors import DataError
from unpool.run_directory import RunDirectory
from unpool.types import DataInfo

_LISTED = 5
_GEOMETRY = {"flip_pairs": "joints that trade places in a mirror", "limbs": "limbs"}


def check_same_set(directory: RunDirectory, data: Data) -> None:
    """Compares names of images, classes, joints and limbs with those that the run recorded before its first step.

    Raises:
        DataError: images were added, removed or reordered; a file that was validated on might now be trained on.
    """
    recorded = directory.read_json("data.json")
    differences = []
    for split, result in (("train", data.train), ("val", data.val)):
        before, now = recorded[split]["names"], list(result.samples.names)
        if before != now:
            removed, added = sorted(set(before) - set(now)), sorted(set(now) - set(before))
            changes = _list("lacks", removed) + _list("has besides", added) or ["lists its images in another order"]
            differences.append(f"{split} {' and '.join(changes)}")
    known = DataInfo.from_json(directory.read_json("config.json")["info"])
    differences += name_differences(data.info, known, NAMES | _GEOMETRY)
    if differences:
        raise DataError(
            f"the data is not that of this run: {'; '.join(differences)}. Put it back as it was, or start a new run"
        )


def kept_together(directory: RunDirectory) -> list[list[str]]:
    """Groups of images that the drawing of the run's splits keeps together, as data.json has them."""
    return (directory.read_json("data.json")["train"].get("drawn") or {}).get("together", [])


def _list(verb: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{verb} {', '.join(names[:_LISTED])}{more}"] if names else []
