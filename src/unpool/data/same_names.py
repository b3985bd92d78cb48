"""Checks that two sets have the same classes and joints, and palettes that mean the same."""

from collections.abc import Mapping

from unpool.errors import DataError
from unpool.types import DataInfo

Colour = tuple[int, int, int]
NAMES = {"classes": "classes", "keypoints": "joints"}  # fields of DataInfo that hold names, and what they are called


def check_same_names(info: DataInfo, expected: DataInfo, *, reader: str) -> None:
    """Raises DataError if classes, joints or the palettes of masks differ from the expected ones.

    Args:
        info: of the set to check.
        expected: what it must agree with; names in the same order.
        reader: the name of its reader, for messages.
    """
    if differences := name_differences(info, expected, NAMES):
        raise DataError(f"{reader} differs in its names: {'; '.join(differences)}. They must be the same, in order").of(
            "data.class_one_split"
        )
    if difference := palette_difference(info, expected):
        raise DataError(
            f"{reader} differs in its masks: {difference}; save all masks in one way, or write the colours "
            "into classes.txt"
        ).of("data.palette")


def name_differences(info: DataInfo, expected: DataInfo, fields: Mapping[str, str]) -> list[str]:
    """A phrase for each field, by its title, in which `info` differs from `expected`."""
    pairs = [(title, list(getattr(info, name)), list(getattr(expected, name))) for name, title in fields.items()]
    return [f"the {title} are {now[:20]} and were {before[:20]}" for title, now, before in pairs if now != before]


def palette_difference(info: DataInfo, expected: DataInfo) -> str:
    """What differs in the colours of masks whose indices are ids; empty where nothing does.

    >>> red, green = DataInfo(mask_colours=((1, (255, 0, 0)),)), DataInfo(mask_colours=((1, (0, 255, 0)),))
    >>> palette_difference(green, red)
    'palettes show class 1 as (0, 255, 0), and as (255, 0, 0) before'
    """
    rules = (info.mask_rule, expected.mask_rule)
    if "indices" in rules and set(rules) & {"ids", "greys"}:
        kinds = ["indices of palettes" if rule == "indices" else "grey values" for rule in rules]
        return f"their ids are {kinds[0]}, and were {kinds[1]} before"
    now, before = _colours_by_class(info), _colours_by_class(expected)
    for index in sorted(set(now) & set(before)):
        if not now[index] & before[index]:
            return (
                f"palettes show {_name(info, index)} as {_listed(now[index])}, and as {_listed(before[index])} before"
            )
    moved = [(c, i, j) for i in now for j in before for c in now[i] & before[j] if i not in before and j not in now]
    for colour, index, other in sorted(moved):
        return f"palettes show {_name(info, index)} as {colour}, which was {_name(info, other)} before"
    return ""


def _colours_by_class(info: DataInfo) -> dict[int, set[Colour]]:
    colours: dict[int, set[Colour]] = {}
    for index, colour in info.mask_colours:
        colours.setdefault(index, set()).add(colour)
    return colours


def _name(info: DataInfo, index: int) -> str:
    return f"'{info.classes[index]}'" if index < len(info.classes) else f"class {index}"


def _listed(colours: set[Colour]) -> str:
    return ", ".join(map(str, sorted(colours)))
