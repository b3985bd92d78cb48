"""Checks that a resumed run reads the images that it began with, and that readers agree in their names."""

from collections.abc import Mapping, Sequence

from unpool.assemble.data import Data
from unpool.errors import DataError
from unpool.run_directory import RunDirectory
from unpool.types import DataInfo

_LISTED = 5
_NAMES = {"classes": "classes", "keypoints": "joints"}
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
    differences += _differences(data.info, known, _NAMES | _GEOMETRY)
    if differences:
        raise DataError(
            f"the data is not that of this run: {'; '.join(differences)}. Put it back as it was, or start a new run"
        )


def check_same_names(info: DataInfo, expected: DataInfo, *, reader: str) -> None:
    """Raises DataError if classes or joints differ from the expected ones, order included; `reader` is its name."""
    if differences := _differences(info, expected, _NAMES):
        raise DataError(f"{reader} differs in its names: {'; '.join(differences)}. They must be the same, in order")


def _differences(info: DataInfo, expected: DataInfo, fields: Mapping[str, str]) -> list[str]:
    pairs = [(title, list(getattr(info, name)), list(getattr(expected, name))) for name, title in fields.items()]
    return [f"the {title} are {now[:20]} and were {before[:20]}" for title, now, before in pairs if now != before]


def _list(verb: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{verb} {', '.join(names[:_LISTED])}{more}"] if names else []
