"""How well a run knows each class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unpool.pages import blocks
from unpool.pages.chart import COLOURS, Series, line_chart
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
    """The first metric that has a number for each class, or for each of something else; confusion and curves."""
    tables = {name: one for name, one in described.items() if one.each and not (one.is_matrix or one.is_curve)}
    first: dict[str, str] = {}  # metrics by what they have a number for each of
    for name, one in tables.items():
        if isinstance(metrics.get(name), dict):
            first.setdefault(one.each, name)
    parts = []
    for each, name in first.items():
        parts += [element("h3", None, f"{tables[name].title} of each {each}"), *_bars(metrics[name], tables[name])]
    names = list(metrics[next(iter(first.values()))]) if first else []
    for key, description in described.items():
        if first and description.is_matrix and metrics.get(key):
            parts += _confusion(metrics[key], names, unit=description.unit)
        if description.each in first and description.is_curve and metrics.get(key):
            lines = list(metrics[first[description.each]])
            parts.append(element("div", {"class": "charts"}, _curves(metrics[key], lines, description)))
    return parts


def _curves(rows: Sequence[Sequence[float]], names: Sequence[str], description: Description) -> Markup:
    """A line for each class; of more than there are colours, one for their mean."""
    known = {name: row for name, row in zip(names, rows, strict=True) if row}
    if len(known) > COLOURS:
        columns = list(zip(*known.values(), strict=True))
        known = {f"mean of {len(known)}": [sum(column) / len(column) for column in columns]}
    series = [
        Series(name, [(number / (len(row) - 1), value) for number, value in enumerate(row)])
        for name, row in known.items()
    ]
    title = f"{description.title} by {description.unit}"
    return line_chart(title, series, x=description.unit, y="", span=(0.0, 1.0), scale="zero")


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
