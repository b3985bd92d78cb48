"""Limits of the numbers that a recipe sets.

They stand in the annotation of an option: `Annotated[float, SHARE]`. The recipe and its JSON Schema read them there; a
constructor checks with the functions here what reaches it in another way.
"""

import math
from collections.abc import Sequence
from typing import Annotated, cast

from annotated_types import Interval, Len

from unpool.errors import RecipeError, quoted

SHARE = Interval(ge=0, le=1)
PART = Interval(gt=0, le=1)
SEED = Interval(ge=0, lt=2**63)
WEIGHT = Interval(ge=0, le=1_000_000)  # of a class or of a part of a loss
MANY = Interval(ge=1, le=1_000_000)  # samples, epochs, steps
PAIR = Len(2, 2)
PIXELS = Interval(ge=0.1, le=1000)  # of a heatmap: a deviation, a radius, a width
MASK_ID = Interval(ge=0, lt=2**32)  # a value in a mask file

Seed = Annotated[int, SEED]
Weights = Annotated[Sequence[Annotated[float, WEIGHT]], Len(1, 100_000)]
ValShare = Annotated[float, PART]
Square = Annotated[float, Interval(ge=1, le=10)]  # side around a person, in extents of the person
LeastJoints = Annotated[int, Interval(ge=1, le=1000)]
AuxiliaryWeight = Annotated[float, WEIGHT]


def check_number(name: str, value: float, limits: Interval) -> float:
    """A number written in a recipe.

    Raises:
        RecipeError: outside of the limits, or not finite.

    Example:
        >>> check_number("flip.p", 0.5, SHARE)
        0.5
    """
    if not is_within(value, limits):
        raise RecipeError(f"{name} is {quoted(value)}; expected a number {in_words(limits)}")
    return float(value)


def check_range(name: str, values: Sequence[float], limits: Interval) -> tuple[float, float]:
    """The two ends of a range written in a recipe.

    Raises:
        RecipeError: not two numbers in order, or one is outside of the limits.

    Example:
        >>> check_range("masking.share", [0, 0.5], SHARE)
        (0.0, 0.5)
    """
    if len(values) != 2 or not values[0] <= values[1] or not all(is_within(value, limits) for value in values):
        raise RecipeError(
            f"{name} is {quoted(list(values))}; expected two numbers [low, high], each {in_words(limits)}, the lower "
            "one first"
        )
    return float(values[0]), float(values[1])


def in_words(limits: Interval) -> str:
    """Describes limits.

    Example:
        >>> in_words(SHARE), in_words(PART)
        ('from 0 to 1', 'above 0 and at most 1')
    """
    if limits.ge is not None and limits.le is not None:
        return f"from {limits.ge} to {limits.le}"
    ends = {"above": limits.gt, "at least": limits.ge, "below": limits.lt, "at most": limits.le}
    return " and ".join(f"{word} {end}" for word, end in ends.items() if end is not None)


def is_within(value: float, limits: Interval) -> bool:
    """Whether a number is finite and within the limits.

    Example:
        >>> is_within(1.0, SHARE), is_within(float("nan"), SHARE)
        (True, False)
    """
    above, least, below, most = (cast("float | None", end) for end in (limits.gt, limits.ge, limits.lt, limits.le))
    is_low = (above is not None and value <= above) or (least is not None and value < least)
    is_high = (below is not None and value >= below) or (most is not None and value > most)
    return math.isfinite(value) and not is_low and not is_high
