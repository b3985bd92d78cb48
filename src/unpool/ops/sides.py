"""Left and right in the names of joints and classes: `left_ear`, `ear-L`, `LEar`, `earRight`, `rshoulder`.

A name has a side where one of its words is left, right, L, R, lt or rt; words end at signs, at numbers and where a
capital begins. Left and right also stand at either end of a word, without a sign. Where none of these is there, an l
or r at an end of a word may be a side (`lhip` and `rhip`, `FL` and `FR`): two names tell it together, one alone does
not, so that `rear` and `larynx` have none. Words of other languages are not known.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from unpool.errors import RecipeError

_BREAKS = re.compile(r"[\W_]+|(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_WITHIN = re.compile(r"(left|right)(.{3,})|(.{3,})(left|right)")  # three letters: cleft, bright and upright are words
_WHOLE = {"left": "left", "right": "right"}
_SHORT = {"l": "left", "lt": "left", "r": "right", "rt": "right"}
_OPPOSITE = {"left": "right", "right": "left", "l": "r", "r": "l"}


class _Name(NamedTuple):
    words: tuple[str, ...]
    sides: tuple[str, ...]  # each "left" or "right"


def flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Returns the pairs of joints, by index, that are exchanged in a mirrored image: left, then right.

    A joint without a partner, or with more than one that it could be, is in no pair.

    Example:
        >>> flip_pairs(["neck", "left_hip", "right_hip", "R_eye", "eyeLeft", "rear"])
        ((1, 2), (4, 3))
    """
    named = [_parse(name) for name in names]
    alike = defaultdict(list)
    for i, name in enumerate(named):
        alike[name].append(i)
    partners = [[other for name in _mirrored(one) for other in alike.get(name, [])] for one in named]
    return tuple(
        (i, mirrored[0])
        for i, mirrored in enumerate(partners)
        if len(mirrored) == 1 and partners[mirrored[0]] == [i] and _is_left(named[i], named[mirrored[0]])
    )


def side_of(name: str) -> str:
    """Returns "left", "right", or "" for a name without a side; of several the first.

    Example:
        >>> [side_of(name) for name in ("LShoulder", "ear right", "left_eye_right_corner", "rear")]
        ['left', 'right', 'left', '']
    """
    sides = _parse(name).sides
    return sides[0] if sides else ""


def class_sides(names: Sequence[str]) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Returns the pairs of classes that change places in a mirror image, left first, and the sides without a partner.

    Two names that differ in a side alone are a pair, where it is a word, or a letter that is not one of a list: `lake`
    and `rake` are none, nor are the letters of an alphabet or the sizes S, M, L and R. One name alone has a side by the
    word left or right: `R.V.` is no side.

    Example:
        >>> class_sides(["straight", "turn_left", "turn_right", "lake", "rake", "right_foot"])
        (((1, 2),), (5,))
    """
    words = [tuple(part.lower() for part in _BREAKS.split(name)) for name in names]
    pairs = tuple(
        (first, second)
        for first, second in flip_pairs(names)
        if side_of(names[first]) and side_of(names[second]) and not _is_listed(words[first], words)
    )
    paired = {i for pair in pairs for i in pair}
    return pairs, tuple(i for i, one in enumerate(words) if i not in paired and not _WHOLE.keys().isdisjoint(one))


def class_order(names: Sequence[str]) -> list[int]:
    """Returns which class of an image each class is in its mirror image: left and right change places (`class_sides`).

    Raises:
        RecipeError: a class has a side and no partner.

    Example:
        >>> class_order(["straight", "turn_left", "turn_right", "lake", "rake"])
        [0, 2, 1, 3, 4]
    """
    order = list(range(len(names)))
    pairs, alone = class_sides(names)
    if alone:
        raise RecipeError(
            f"class {names[alone[0]]} is a side and no other class is its mirror image, so that its mirrored images "
            "have no class: do not mirror images of these classes"
        )
    for first, second in pairs:
        order[first], order[second] = second, first
    return order


def unsided(name: str) -> str:
    """Returns the words of a name but its sides, in lower case, joined by "_".

    Example:
        >>> unsided("LShoulder"), unsided("ear_right"), unsided("headTop")
        ('shoulder', 'ear', 'head_top')
    """
    return "_".join(_parse(name).words)


def _is_listed(words: tuple[str, ...], names: Sequence[tuple[str, ...]]) -> bool:
    """Whether another name has a third letter where this one has l or r."""
    letters = [
        other[i]
        for i, word in enumerate(words)
        for other in names
        if word in ("l", "r") and other[:i] + other[i + 1 :] == words[:i] + words[i + 1 :] and len(other) == len(words)
    ]
    return any(len(letter) == 1 and letter.isalpha() and letter not in "lr" for letter in letters)


def _parse(name: str) -> _Name:
    words = [word for part in _BREAKS.split(name) for word in _parts(part.lower())]
    known = _WHOLE if _WHOLE.keys() & set(words) else _SHORT  # left_hand_R2 is on the left
    return _Name(tuple(w for w in words if w not in known), tuple(known[w] for w in words if w in known))


def _parts(word: str) -> list[str]:
    within = _WITHIN.fullmatch(word)
    return [part for part in (within.groups() if within else [word]) if part]


def _mirrored(name: _Name) -> Iterator[_Name]:
    """What the name of the partner may be."""
    if name.sides:
        yield name._replace(sides=tuple(_OPPOSITE[side] for side in name.sides))
        return
    for i, word in enumerate(name.words):
        for other in (_OPPOSITE.get(word[0], "") + word[1:], word[:-1] + _OPPOSITE.get(word[-1], "")):
            if len(other) == len(word):
                yield _Name((*name.words[:i], other, *name.words[i + 1 :]), ())


def _is_left(name: _Name, partner: _Name) -> bool:
    if name.sides:
        return name.sides[0] == "left"
    return next(a for a, b in zip("".join(name.words), "".join(partner.words), strict=True) if a != b) == "l"
