"""Names of the classes or joints of plain data sets: passed, of the set itself, and of another set.

A name belongs to a number, its position. Of sets with boxes, classes are things alone: the name of a background, or
torchvision's for a number that no box has, only takes up its number, and `DataInfo.class_ids` has those of the others.
Labels that count from 1 are known by such a name alone, and never guessed.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch.utils.data import ChainDataset, ConcatDataset

from unpool.data.classes import match
from unpool.data.plain import DatasetReader
from unpool.data.same_names import check_same_names
from unpool.errors import DataError, RecipeError
from unpool.ops.sides import flip_pairs
from unpool.types import DataInfo, Reader

Names = tuple[str, ...]
Numbered = dict[int, str]  # names by number
_FIELDS = {
    **dict.fromkeys(("label", "labels", "mask", "text"), "classes"),
    **dict.fromkeys(("keypoints", "people"), "keypoints"),
    "captions": "words",
}
_CALLED = {  # what a message calls the names, and how they are written
    "classes": ("the names of the classes", "[NAME, ...]"),
    "keypoints": ("the names of the joints", "[NAME, ...]"),
    "words": ("the words of the captions", "unpool.ops.words.vocabulary(captions, least=5)"),
}
_NO_THINGS = ("__background__", "background", "n/a")  # names of numbers that no box has, in small letters
_SHOWN = 20  # names in a message
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
        what, written = _CALLED[field]
        raise RecipeError(
            f"{what} are not known, and {part} has no `classes`: give classes={written}, in the order of numbers"
        )
    numbered = _numbered(tuple(str(name) for name in names), gives)
    if isinstance(classes, str) or len(set(numbered.values())) != len(numbered):
        raise RecipeError(f"classes is {classes!r}; expected a list of names, each of them once")
    info = _info(field, tuple(numbered.values()))
    if list(numbered) != list(range(len(numbered))):
        info = replace(info, class_ids=tuple(numbered))
    check_numbers(dataset, info, gives, part=part)
    return info


def numbers_of(info: DataInfo, gives: Sequence[str]) -> Mapping[int, int]:
    """The class of each label of boxes, where their set numbers classes by `class_ids`; else empty.

    Raises:
        RecipeError: there are not as many numbers as classes.

    >>> numbers_of(DataInfo(classes=("cat", "dog"), class_ids=(1, 3)), ("image", "boxes", "labels"))
    {1: 0, 3: 1}
    """
    ids = info.class_ids if "labels" in gives else ()
    if ids and (len(set(ids)) != len(ids) or len(ids) != len(info.classes)):
        raise RecipeError(f"class_ids is {ids} of {len(info.classes)} classes; expected a number for each of them")
    return {number: label for label, number in enumerate(ids)}


def say_numbers(info: DataInfo, numbers: Mapping[int, int], gives: Sequence[str]) -> None:
    """Logs which class each label of boxes is read as; a set may have counted them in another way."""
    if "labels" in gives:
        every = numbers or {label: label for label in range(len(info.classes))}
        listed = [f"{number} {info.classes[label]}" for number, label in every.items()]
        more = ", ..." if len(listed) > _SHOWN else ""
        _log.info("labels of boxes are read as %s%s", ", ".join(listed[:_SHOWN]), more)


def check_numbers(dataset: Any, info: DataInfo, gives: Sequence[str], *, part: str) -> None:
    """Raises DataError where the data set gives a number one name of its `classes`, and `info` another.

    A set that has none of the names is taken by number, which the log says.
    """
    pair = _pair(dataset, info, gives)
    if pair is None:
        return
    theirs, ours = pair
    number_of = {name: number for number, name in ours.items()}
    if number_of.keys().isdisjoint(theirs.values()):
        _log.info("%s names its classes %s: taken by number as %s", part, *map(_listed, pair))
    elif any(ours.get(n, name) != name or number_of.get(name, n) != n for n, name in theirs.items()):
        raise DataError(
            f"`classes` of {part} is {_listed(theirs)}, by number, and would be read as {_listed(ours)}: leave "
            "classes= out, or give the set the same names in the same order"
        )


def numbers_by_name(dataset: Any, info: DataInfo, gives: Sequence[str], *, part: str) -> Mapping[int, int]:
    """The class in `info` of each number that the data set names; as `numbers_of` where they agree, or are not known.

    Raises:
        DataError: some of its names are unknown, or joints are others or in another order.
    """
    pair = _pair(dataset, info, gives)
    if pair is None or pair[0] == pair[1]:
        return numbers_of(info, gives)
    theirs, ours = pair
    if set(theirs.values()).isdisjoint(ours.values()):
        _log.warning("%s names its classes %s: taken by number as %s", part, *map(_listed, pair))
        return numbers_of(info, gives)
    names, known = tuple(theirs.values()), tuple(ours.values())
    if _field(gives) == "keypoints":
        check_same_names(_info("keypoints", names), info, reader=part)
    return dict(zip(theirs, match(names, known, f"`classes` of {part}"), strict=True))


def check_alike(train: Reader, val: Reader, gives: Sequence[str]) -> None:
    """Raises DataError where both sets name classes or joints themselves, and not the same in the same order."""
    field = _field(gives)
    names = [
        tuple(_numbered(_names_in(one.dataset) or (), gives).values())
        if isinstance(one, DatasetReader)
        else _names_of(one.info, field)
        for one in (train, val)
    ]
    if field is not None and names[0] and names[1]:
        check_same_names(_info(field, names[1]), _info(field, names[0]), reader="val")


def _field(gives: Sequence[str]) -> str | None:
    return next((_FIELDS[key] for key in gives if key in _FIELDS), None)


def _info(field: str, names: Names) -> DataInfo:
    if field == "words":
        return DataInfo(words=names)
    if field == "classes":
        return DataInfo(classes=names)
    return DataInfo(keypoints=names, flip_pairs=flip_pairs(names))


def _pair(dataset: Any, info: DataInfo, gives: Sequence[str]) -> tuple[Numbered, Numbered] | None:
    """Names by number that the data set has itself, and those of `info`; None where there are not both."""
    known, theirs = _names_of(info, _field(gives)), _numbered(_names_in(dataset) or (), gives)
    ours = dict(zip(numbers_of(info, gives) or range(len(known)), known, strict=True))
    return (theirs, ours) if theirs and ours else None


def _numbered(names: Names, gives: Sequence[str]) -> Numbered:
    """Names by number; of boxes those of things alone."""
    is_of_things = "labels" in gives
    return {i: name for i, name in enumerate(names) if not is_of_things or name.casefold() not in _NO_THINGS}


def _names_of(info: DataInfo, field: str | None) -> Names:
    return () if field is None else getattr(info, field)


def _names_in(dataset: Any) -> Names | None:
    """Names by number that a data set, or one inside of it, has.

    Raises:
        DataError: its parts, or its `class_to_idx`, give a number another name.
    """
    while dataset is not None:
        names = getattr(dataset, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            _check_numbered(tuple(names), getattr(dataset, "class_to_idx", None))
            return tuple(names)
        if isinstance(dataset, ConcatDataset | ChainDataset):
            return _names_in_all(list(dataset.datasets))
        dataset = getattr(dataset, "dataset", None)
    return None


def _names_in_all(parts: Sequence[Any]) -> Names | None:
    """Names by number of data sets that are joined, of which one may have more than another."""
    known = [names for names in map(_names_in, parts) if names is not None]
    longest = max(known, key=len, default=None)
    if other := [names for names in known if longest is not None and names != longest[: len(names)]]:
        raise DataError(
            f"data sets that are joined name their classes {_listed(dict(enumerate(longest or ())))}, and "
            f"{_listed(dict(enumerate(other[0])))}, by number, so that a label means two things: give all of them the "
            "same names in the same order, in `classes` and in their labels"
        )
    return longest


def _check_numbered(names: Names, numbers: Any) -> None:
    """Raises DataError where `class_to_idx`, which torchvision's data sets label by, numbers the names otherwise."""
    if not isinstance(numbers, Mapping):
        return
    if other := [(name, i) for i, name in enumerate(names) if numbers.get(name, i) != i]:
        name, number = other[0]
        raise DataError(
            f"`classes` of a data set has {name!r} as number {number}, and its class_to_idx as {numbers[name]}: sort "
            "its `classes` by the numbers of the labels"
        )


def _listed(numbered: Numbered) -> str:
    """The names, and their numbers where these do not count from 0 on."""
    counted = list(numbered) == list(range(len(numbered)))
    names = [name if counted else f"{number} {name}" for number, name in numbered.items()]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
