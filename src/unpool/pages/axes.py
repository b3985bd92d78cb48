"""Axes of charts: positions of ticks, texts of numbers, and shortened series."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

POINTS = 240  # of one drawn line; more would not be visible at the width of a page
LARGEST, SMALLEST = 1e300, 1e-300  # beyond them sums and differences are not finite, or zero
EQUAL = 1e-9  # difference of two values, as a share of the larger, below which one axis cannot tell them apart


class Bucket(NamedTuple):
    """Neighbouring points of a series as one: mean x, mean y, smallest and largest y."""

    x: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels.

    Attributes:
        low, high: values at the two ends.
        ticks: values with a line and a number.
        start, end: pixels at the two ends.
        log: whether the axis is logarithmic.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    start: float
    end: float
    log: bool = False

    def pixel(self, value: float) -> float:
        """Returns the pixel of a value; beyond an end, that of the end."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self.start + (self._scaled(min(max(value, self.low), self.high)) - low) / (high - low) * (
            self.end - self.start
        )

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def axis(
    values: Sequence[float],
    *,
    start: float,
    end: float,
    log: bool = False,
    tight: bool = False,
) -> Axis:
    """Makes an axis that contains all values and ends at round numbers.

    Args:
        values: finite; above 0 for a logarithmic axis. May be empty.
        start: pixel of its lower end.
        end: pixel of its upper end.
        log: whether it is logarithmic.
        tight: end at the smallest and largest value instead, as for an axis of steps.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log:
        first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        low, high = 10.0**first, 10.0 ** max(last, first + 1)
        return Axis(low, high, _log_ticks(low, high), start, end, log=True)
    if high - low <= EQUAL * max(abs(low), abs(high)):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    step = _round_step((high - low) / (8 if tight else 5))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(12, 12 - math.floor(math.log10(step)))
    ticks = tuple(round(i * step, digits) for i in range(first, last + 1))
    if not tight:
        return Axis(ticks[0], ticks[-1], ticks, start, end)
    return Axis(low, high, tuple(tick for tick in ticks if low <= tick <= high), start, end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    decades = range(round(math.log10(low)), round(math.log10(high)) + 1)
    every = max(1, math.ceil(len(decades) / 6))
    factors = (1, 2, 5) if len(decades) <= 3 else (1,)
    ticks = [factor * 10.0**decade for decade in decades[::every] for factor in factors]
    return tuple(tick for tick in ticks if low <= tick <= high * 1.0001)


def number(value: float) -> str:
    """Returns a number as short text: 12,000, 0.25, 3e-05."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"
        return "0" if text == "-0" else text
    return f"{value:.3g}"


def numbers(values: Sequence[float]) -> list[str]:
    """Returns each number as short text, all with more digits where it needs them to be exact, as at a tick."""
    texts = list(map(number, values))
    for digits in range(5, 13):
        if all(
            math.isclose(float(text.replace(",", "")), value, abs_tol=SMALLEST)
            for text, value in zip(texts, values, strict=True)
        ):
            break
        texts = [f"{value:.{digits}g}" for value in values]
    return texts


def finite(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float]]:
    """Returns the points (x, y) of which both numbers are finite; beyond LARGEST they are that, below SMALLEST 0."""
    return [(_drawable(x), _drawable(y)) for x, y in points if y is not None and math.isfinite(y) and math.isfinite(x)]


def _drawable(value: float) -> float:
    return 0.0 if abs(value) < SMALLEST else min(max(value, -LARGEST), LARGEST)


def shortened(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[Bucket]:
    """Averages a series into at most `most` buckets of equally many neighbouring points."""
    size = max(1, math.ceil(len(points) / most))
    buckets = []
    for begin in range(0, len(points), size):
        part = points[begin : begin + size]
        ys = [y for _, y in part]
        buckets.append(Bucket(sum(x for x, _ in part) / len(part), sum(ys) / len(ys), min(ys), max(ys)))
    return buckets
