"""Names of the classes or joints of plain data sets: passed, of the set itself, and of another set."""

import logging
from collections.abc import Sequence
from typing import Any

from unpool.data.classes import match
from unpool.data.plain import DatasetReader
from unpool.data.same_names import check_same_names
from unpool.errors import DataError, RecipeError
from unpool.ops.sides import flip_pairs
from unpool.types import DataInfo, Reader

Names = tuple[str, ...]
_FIELDS = {"label": "classes", "mask": "classes", "keypoints": "keypoints", "people": "keypoints"}  # of DataInfo
_log = logging.getLogger(__name__)


def info_of(classes: Sequence[str] | DataInfo | None, dataset: Any, gives: Sequence[str], *, part: str) -> DataInfo:
    """Names of the classes or joints: those passed, else those that the data set has as its `classes`.

    Raises:
        RecipeError: the targets need names and there are none, or two are equal.
        DataError: a number has one of these names in the data set, and another of those passed.
    """
    field = _field(gives)
    if field is None or isinstance(classes, DataInfo):
        info = classes if isinstance(classes, DataInfo) else DataInfo()
        check_numbers(dataset, info, gives, part=part)
        return info
    names = classes if classes is not None else _names_in(dataset)
    if names is None:
        what = "the names of the classes" if field == "classes" else "the names of the joints"
        raise RecipeError(
            f"{what} are not known, and {part} has no `classes`: give classes=[NAME, ...], in the order of numbers"
        )
    names = tuple(str(name) for name in names)
    if isinstance(classes, str) or len(set(names)) != len(names):
        raise RecipeError(f"classes is {classes!r}; expected a list of names, each of them once")
    info = _info(field, names)
    check_numbers(dataset, info, gives, part=part)
    return info


def check_numbers(dataset: Any, info: DataInfo, gives: Sequence[str], *, part: str) -> None:
    """Raises DataError where the data set gives a number one name of its `classes`, and `info` another.

    A set that has none of the names is taken by number, which the log says.
    """
    field = _field(gives)
    pair = _pair(dataset, info, field)
    if field is None or pair is None:
        return
    if set(pair[0]).isdisjoint(pair[1]):
        _log.info("%s names its classes %s: taken by number as %s", part, *map(_listed, pair))
    elif any(one != other for one, other in zip(*pair, strict=False)):
        raise DataError(
            f"`classes` of {part} is {_listed(pair[0])}, by number, and would be read as {_listed(pair[1])}: leave "
            "classes= out, or give the set the same names in the same order"
        )


def numbers_by_name(dataset: Any, info: DataInfo, gives: Sequence[str], *, part: str) -> tuple[int, ...]:
    """The number in `info` of each class that the data set names; empty where they are the same, or not known.

    Raises:
        DataError: some of its names are unknown, or joints are others or in another order.
    """
    field = _field(gives)
    pair = _pair(dataset, info, field)
    if field is None or pair is None or pair[0] == pair[1]:
        return ()
    if set(pair[0]).isdisjoint(pair[1]):
        _log.warning("%s names its classes %s: taken by number as %s", part, *map(_listed, pair))
        return ()
    if field == "keypoints":
        check_same_names(_info(field, pair[0]), info, reader=part)
    return match(*pair, f"`classes` of {part}")


def check_alike(train: Reader, val: Reader, gives: Sequence[str]) -> None:
    """Raises DataError where both sets name classes or joints themselves, and not the same in the same order."""
    field = _field(gives)
    names = [
        _names_in(one.dataset) if isinstance(one, DatasetReader) else _names_of(one.info, field) for one in (train, val)
    ]
    if field is not None and names[0] and names[1]:
        check_same_names(_info(field, names[1]), _info(field, names[0]), reader="val")


def _field(gives: Sequence[str]) -> str | None:
    return next((_FIELDS[key] for key in gives if key in _FIELDS), None)


def _info(field: str, names: Names) -> DataInfo:
    if field == "classes":
        return DataInfo(classes=names)
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names))


def _pair(dataset: Any, info: DataInfo, field: str | None) -> tuple[Names, Names] | None:
    """Names that the data set has itself, and those of `info`; None where there are not both."""
    names, known = _names_in(dataset), _names_of(info, field)
    return (names, known) if names and known else None


def _names_of(info: DataInfo, field: str | None) -> Names:
    return () if field is None else info.classes if field == "classes" else info.keypoints


def _names_in(dataset: Any) -> Names | None:
    while dataset is not None:
        names = getattr(dataset, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
        dataset = getattr(dataset, "dataset", None)
    return None


def _listed(names: Names) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
