"""How well a run knows each class."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from unpool.pages import blocks
from unpool.pages.chart import COLOURS, Series, line_chart
from unpool.pages.markup import Markup, element
from unpool.report.calibration import calibration_parts
from unpool.report.words import MOST_BARS, Described, in_words
from unpool.task import Description

MOST_MATRIX = 20
SIZE = "size"  # of which values stay in their order; others are sorted
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
    """The first metric that has a number for each class, or for each of something else; the others in a table.

    Then confusion, curves and calibration.
    """
    tables = {
        name: one
        for name, one in described.items()
        if one.each and not (one.is_matrix or one.is_curve or one.is_calibration)
    }
    first: dict[str, str] = {}  # metrics by what they have a number for each of
    for name, one in tables.items():
        if isinstance(metrics.get(name), dict):
            first.setdefault(one.each, name)
    parts = []
    for each, name in first.items():
        parts += [element("h3", None, f"{tables[name].title}, by {each}"), *_bars(metrics[name], tables[name])]
        parts += _all_numbers(metrics, {key: one for key, one in tables.items() if one.each == each}, each)
    names = list(metrics[next(iter(first.values()))]) if first else []
    for key, description in described.items():
        if first and description.is_matrix and metrics.get(key):
            parts += _confusion(metrics[key], names, unit=description.unit)
        if description.each in first and description.is_curve and metrics.get(key):
            lines = list(metrics[first[description.each]])
            parts.append(element("div", {"class": "charts"}, _curves(metrics[key], lines, description)))
        if description.is_calibration and metrics.get(key):
            parts += calibration_parts(metrics[key], description)
    return parts


def _all_numbers(metrics: Mapping[str, Any], tables: Described, each: str) -> list[Markup]:
    """All metrics that have a number for each class, or whatever it is, side by side; none where there is only one."""
    measured = {name: one for name, one in tables.items() if isinstance(metrics.get(name), dict)}
    if len(measured) < 2:
        return []
    names = metrics[next(iter(measured))]

    def cell(name: str, key: str) -> str:
        value = metrics[key].get(name)
        return "n/a" if value is None else in_words(measured[key], value)

    rows = [(name, *(cell(name, key) for key in measured)) for name in names]
    headings = (each, *(one.title for one in measured.values()))
    return [blocks.folded(f"All numbers of each {each}", blocks.table(rows, headings=headings, has_figures=True))]


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
    return line_chart(title, series, x=description.unit, y=description.title, span=(0.0, 1.0), scale="zero")


def _bars(values: Mapping[str, float | None], description: Description) -> list[Markup]:
    sign = 1 if description.higher_is_better else -1
    order = list(values.items())
    if description.each != SIZE:
        order.sort(key=lambda entry: -math.inf if entry[1] is None else sign * entry[1], reverse=True)
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
