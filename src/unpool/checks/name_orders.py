"""The order of a data set's file names: as text, in which 10 stands before 2, or by the numbers in them."""

import re
from collections.abc import Mapping
from os import PathLike

NAME = "the order of numbers in the names of files", "the order of the names of files as text"


def other_orders(dataset: object) -> Mapping[str, list[int]]:
    """Of each sample the position that its target has if the targets are listed in the other order of names.

    Example:
        >>> class Set:
        ...     def __init__(self) -> None:
        ...         self.files = ["1.png", "10.png", "2.png"]
        >>> other_orders(Set())
        {'the order of numbers in the names of files': [0, 2, 1]}
    """
    held = vars(dataset) if "__dict__" in dir(dataset) else {}
    for values in held.values():
        names = _names(values)
        as_text = sorted(range(len(names)), key=lambda i: names[i])
        by_number = sorted(range(len(names)), key=lambda i: _pieces(names[i]))
        if as_text == by_number:
            continue
        for order, name, other in ((as_text, NAME[0], by_number), (by_number, NAME[1], as_text)):
            if order == list(range(len(names))):
                return {name: [position for _, position in sorted(zip(other, order, strict=True))]}
    return {}


def _names(values: object) -> list[str]:
    if not isinstance(values, list | tuple) or len(values) < 2:
        return []
    firsts = [one[0] if isinstance(one, tuple) and one else one for one in values]
    return [str(one) for one in firsts] if all(isinstance(one, str | PathLike) for one in firsts) else []


def _pieces(name: str) -> list[tuple[int, str]]:
    """Text and numbers of a name in turn, to be compared."""
    return [(int(one), "") if one.isdecimal() else (-1, one) for one in re.split(r"(\d+)", name)]
