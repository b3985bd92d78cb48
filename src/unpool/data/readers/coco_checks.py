"""Checks the content of a file of COCO keypoints or instances.

Source: cocodataset.org, "Data format".
"""

from collections import Counter
from collections.abc import Callable, Mapping
from reprlib import Repr
from typing import Any, NamedTuple

import numpy as np

from unpool.data.listing import as_posix, is_below

PERSON = "person"
MOST = 1_000_000  # pixels from the corner; no image is that large
_SHORT = Repr()
_SHORT.maxlist = 6
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    expected: str


def require_consistent(content: Any) -> None:
    """Raises unless each record of people has valid values for all keys that are read.

    Raises:
        ValueError: names the record, its value and the value expected.
    """
    _require_parts(content)
    person = _person(content["categories"])
    person_rules = {**_PERSON, "keypoints": _joints(len(person["keypoints"]))}
    for position, one in enumerate(content["annotations"]):
        if one["category_id"] == person["id"]:
            _require("annotations", position, one, person_rules)


def require_instances(content: Any) -> None:
    """As `require_consistent`, for things of all categories, whose names differ."""
    _require_parts(content)
    mend = ": rename one, or put the annotations of both under one id"
    _require_unique("categories", [one["name"] for one in content["categories"]], "name", mend)
    for position, one in enumerate(content["annotations"]):
        _require("annotations", position, one, _THING)


def _require_parts(content: Any) -> None:
    """Raises unless images, annotations and categories are lists of records, ids are unique and references resolve."""
    if not isinstance(content, dict):
        raise ValueError(f"it holds {_shown(content)}; expected an object of images, annotations and categories")
    for part, rules in _RULES.items():
        records = content.get(part)
        if not isinstance(records, list):
            raise ValueError(f"{part} is {_shown(records)}; expected a list")
        for position, record in enumerate(records):
            _require(part, position, record, rules)
        _require_unique(part, [record["id"] for record in records], "id")
    _require_unique("images", [as_posix(image["file_name"]) for image in content["images"]], "file_name")
    numbers = {part: {record["id"] for record in content[part]} for part in ("images", "categories")}
    known = {
        "image_id": _Rule(numbers["images"].__contains__, "the id of one of its images"),
        "category_id": _Rule(numbers["categories"].__contains__, "the id of one of its categories"),
    }
    for position, one in enumerate(content["annotations"]):
        _require("annotations", position, one, known)


def _require(part: str, position: int, record: Any, rules: Mapping[str, _Rule]) -> None:
    if not isinstance(record, dict):
        raise ValueError(f"{part}[{position}] is {_shown(record)}; expected an object")
    for key, rule in rules.items():
        if key not in record or not rule.holds(record[key]):
            problem = f"{key} is {_shown(record[key])}" if key in record else f"has no {key}"
            number = f" (id {_shown(record['id'])})" if key != "id" and "id" in record else ""
            raise ValueError(f"{part}[{position}]{number}: {problem}; expected {rule.expected}")


def _require_unique(part: str, values: list[Any], key: str, mend: str = "") -> None:
    twice = [(value, times) for value, times in Counter(values).items() if times > 1]
    if twice:
        value, times = twice[0]
        more = f", and {len(twice) - 1} more {key}s are of several" if len(twice) > 1 else ""
        raise ValueError(f"{times} {part} have the {key} {_shown(value)}{more}; expected each once{mend}")


def _person(categories: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    people = [position for position, one in enumerate(categories) if one["name"] == PERSON]
    if len(people) != 1:
        names = _shown([one["name"] for one in categories])
        raise ValueError(f"{len(people)} of its categories are called {PERSON!r}; expected one; they are {names}")
    person = categories[people[0]]
    _require("categories", people[0], person, {"keypoints": _Rule(_is_names, "a list of different names")})
    limbs = f"pairs of two different joints, counted from 1 to {len(person['keypoints'])}"
    rule = _Rule(lambda value: _is_limbs(value, len(person["keypoints"])), limbs)
    _require("categories", people[0], person, {"skeleton": rule})
    return person


def _joints(count: int) -> _Rule:
    def holds(value: Any) -> bool:
        try:
            numbers = np.array(value)
        except ValueError:  # lists of unequal length within
            return False
        if numbers.shape != (3 * count,) or numbers.dtype.kind not in "iuf":
            return False
        flags = numbers[2::3]
        return bool((np.abs(numbers) < MOST).all() and ((flags == 0) | (flags == 1) | (flags == 2)).all())

    return _Rule(holds, f"{3 * count} finite numbers, x, y and 0, 1 or 2 of each of {count} joints")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MOST  # NaN is not


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)) and min(value[2:]) >= 0


def _is_file(value: Any) -> bool:
    if not (isinstance(value, str) and value.strip("./")):
        return False
    try:
        value.encode("utf-8", "surrogateescape")  # as the system will
    except UnicodeEncodeError:
        return False
    return is_below(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and 0 < len(set(value)) == len(value)


def _is_limbs(value: Any, count: int) -> bool:
    pairs = value if isinstance(value, list) and all(isinstance(pair, list) for pair in value) else [[]]
    return all(
        len(set(map(str, pair))) == len(pair) == 2 and all(_is_up_to(count)(end) for end in pair) for pair in pairs
    )


def _is_up_to(most: int, *, least: int = 1) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _shown(value: Any) -> str:
    length = f" of {len(value)} values" if isinstance(value, list) and len(value) > _SHORT.maxlist else ""
    return _SHORT.repr(value) + length


_WHOLE = _Rule(_is_whole, "a whole number")
_SIDE = _Rule(_is_up_to(MOST), f"1 to {MOST} pixels")
_RULES = {
    "images": {
        "id": _WHOLE,
        "file_name": _Rule(
            _is_file, "a path below the folder of the images, with / between folders, without '..' or a leading '/'"
        ),
        "height": _SIDE,
        "width": _SIDE,
    },
    "annotations": {"id": _WHOLE, "image_id": _WHOLE, "category_id": _WHOLE},
    "categories": {"id": _WHOLE, "name": _Rule(lambda value: isinstance(value, str), "a word")},
}
_THING = {
    "iscrowd": _Rule(
        lambda value: type(value) in (int, bool) and value in (0, 1), "0 or 1, which is 0 in a set without crowds"
    ),
    "bbox": _Rule(_is_box, "left, top, width and height, finite and the last two not negative"),
    "area": _Rule(
        lambda value: type(value) in (int, float) and 0 <= value <= MOST**2,
        "a number of pixels, finite and not negative, which is width times height in a set without areas",
    ),
}
_PERSON = {**_THING, "num_keypoints": _Rule(_is_up_to(MOST, least=0), "a number of joints")}
