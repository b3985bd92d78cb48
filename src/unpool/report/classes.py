"""How well a run knows each class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unpool.pages import blocks
from unpool.pages.markup import Markup, element
from unpool.report.words import MOST_BARS, Described, in_words
from unpool.task import Description

MOST_MATRIX = 20
MANY = 100_000  # from which on counts are too long for a table


def classes_title(described: Described) -> str:
    """What the metrics with a number for each are about.

    Example:
        >>> classes_title({"pck_of_joints": Description("PCK", each="joint")}), classes_title({})
        ('Joints', 'Classes')
    """
    each = next((one.each for one in described.values() if one.each), "class")
    return "Classes" if each == "class" else f"{each.capitalize()}s"


def classes_section(metrics: Mapping[str, Any], described: Described) -> list[Markup]:
    """The first metric that has a number for each class, and the confusion of the classes."""
    tables = {name: one for name, one in described.items() if one.each and not one.is_matrix}
    name = next((name for name in tables if isinstance(metrics.get(name), dict)), None)
    if name is None:
        return []
    one, values = tables[name], metrics[name]
    parts = [element("h3", None, f"{one.title} of each {one.each}"), *_bars(values, one)]
    for key, description in described.items():
        if description.is_matrix and metrics.get(key):
            parts += _confusion(metrics[key], list(values), unit=description.unit)
    return parts


def _bars(values: Mapping[str, float | None], description: Description) -> list[Markup]:
    sign = 1 if description.higher_is_better else -1
    order = sorted(values.items(), key=lambda entry: -math.inf if entry[1] is None else sign * entry[1], reverse=True)
    rows = [
        blocks.Bar(
            name, value if description.is_share else None, "absent" if value is None else in_words(description, value)
        )
        for name, value in order
    ]
    if len(rows) <= MOST_BARS:
        return [blocks.bars(rows)]
    half = MOST_BARS // 2
    left_out = blocks.note(f"The {half} best and the {half} worst of {len(rows)}, one for each {description.each}.")
    return [blocks.bars(rows[:half]), element("hr"), blocks.bars(rows[-half:]), left_out]


def _confusion(counts: Sequence[Sequence[int]], names: Sequence[str], *, unit: str) -> list[Markup]:
    if len(names) <= MOST_MATRIX:
        in_shares = max(map(max, counts)) >= MANY
        title = f"Confusion, % of the {unit} of each true class" if in_shares else f"Confusion, {unit}"
        table = blocks.matrix(counts, names, rows="truth", columns="prediction", in_shares=in_shares)
        return [element("h3", None, title), table]
    pairs = [
        (count, names[truth], names[taken])
        for truth, row in enumerate(counts)
        for taken, count in enumerate(row)
        if count and truth != taken
    ]
    most = sorted(pairs, key=lambda pair: pair[0], reverse=True)[:MOST_MATRIX]
    rows = [(truth, taken, count) for count, truth, taken in most]
    return [
        element("h3", None, "Most frequent mistakes"),
        blocks.table(rows, headings=("truth", "prediction", unit)),
    ]
