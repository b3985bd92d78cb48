"""Checks that two sets have the same classes and joints."""

from collections.abc import Mapping

from unpool.errors import DataError
from unpool.types import DataInfo

NAMES = {"classes": "classes", "keypoints": "joints"}  # fields of DataInfo that hold names, and what they are called


def check_same_names(info: DataInfo, expected: DataInfo, *, reader: str) -> None:
    """Raises DataError if classes or joints differ from the expected ones, order included; `reader` is its name."""
    if differences := name_differences(info, expected, NAMES):
        raise DataError(f"{reader} differs in its names: {'; '.join(differences)}. They must be the same, in order")


def name_differences(info: DataInfo, expected: DataInfo, fields: Mapping[str, str]) -> list[str]:
    """A phrase for each field, by its title, in which `info` differs from `expected`."""
    pairs = [(title, list(getattr(info, name)), list(getattr(expected, name))) for name, title in fields.items()]
    return [f"the {title} are {now[:20]} and were {before[:20]}" for title, now, before in pairs if now != before]
