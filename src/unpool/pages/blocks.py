"""The parts of a page that are no chart: key figures, tables, bars, matrices, text."""

from collections.abc import Sequence
from typing import NamedTuple

from unpool.pages.markup import Markup, element, joined


class Bar(NamedTuple):
    """One bar: its name, its length as a share of the whole (None: no value), and the text after it."""

    name: str
    share: float | None
    text: str


def tiles(values: Sequence[tuple[str, str]]) -> Markup:
    """Makes key figures: each (name, value) in a box."""
    boxes = [
        element("div", {"class": "tile"}, element("b", None, value), element("span", None, name))
        for name, value in values
    ]
    return element("div", {"class": "tiles"}, *boxes)


def table(rows: Sequence[Sequence[object]], *, headings: Sequence[str] = (), has_figures: bool = False) -> Markup:
    """Makes a table of rows of cells; numbers are aligned at the right, texts wrap.

    Args:
        rows: of cells.
        headings: of the columns.
        has_figures: all cells but the first of a row are figures, such as "90.0 %", and kept on one line.
    """
    head = element("thead", None, element("tr", None, *(element("th", None, name) for name in headings)))
    body = element("tbody", None, *(element("tr", None, *map(_cell, row)) for row in rows))
    kind = {"class": "figures"} if has_figures else None
    return element("div", {"class": "scroll"}, element("table", kind, head if headings else "", body))


def _cell(value: object) -> Markup:
    return element("td", {"class": "number"} if isinstance(value, int | float) else None, value)


def bars(values: Sequence[Bar]) -> Markup:
    """Makes horizontal bars from 0 to 1."""
    rows = []
    for bar in values:
        width = f"width:{100 * min(max(bar.share, 0.0), 1.0):.1f}%" if bar.share is not None else "width:0"
        track = element("span", {"class": "track"}, element("i", {"style": width}))
        rows.append(
            element(
                "div",
                {"class": "bar"},
                element("span", {"class": "name", "title": bar.name}, bar.name),
                track,
                element("span", {"class": "value"}, bar.text),
            )
        )
    return element("div", {"class": "bars"}, *rows)


def matrix(
    counts: Sequence[Sequence[int]], names: Sequence[str], *, rows: str, columns: str, in_shares: bool = False
) -> Markup:
    """Makes a table of counts in which a cell is darker the larger its share of its row.

    Args:
        counts: one row per name, one column per name.
        names: of the rows and of the columns.
        rows: title of the rows, such as "truth".
        columns: title of the columns.
        in_shares: write percents of the row in place of counts, which stand where the pointer rests.
    """
    corner = element("th", {"class": "corner"}, f"{rows} \\ {columns}")
    head = element(
        "tr", None, corner, *(element("th", {"class": "turned"}, element("span", None, name)) for name in names)
    )
    body = [
        element("tr", None, element("th", {"class": "side"}, name), *_matrix_row(row, i, in_shares=in_shares))
        for i, (name, row) in enumerate(zip(names, counts, strict=True))
    ]
    whole = element("table", {"class": "matrix"}, element("thead", None, head), element("tbody", None, *body))
    return element("div", {"class": "scroll"}, whole)


def _matrix_row(row: Sequence[int], index: int, *, in_shares: bool) -> list[Markup]:
    total = sum(row) or 1
    cells = []
    for column, count in enumerate(row):
        kind = "right" if column == index else "wrong"
        attributes = {"class": kind, "style": f"--share:{count / total:.3f}"}
        if in_shares:
            attributes["title"] = f"{count:,} of {sum(row):,}"
        text = f"{100 * count / total:.1f}" if in_shares else f"{count:,}"
        cells.append(element("td", attributes, text if count else ""))
    return cells


def legend(entries: Sequence[tuple[str, tuple[int, int, int]]]) -> Markup:
    """Makes a line of names, each with its RGB colour."""
    keys = [
        element("span", {"class": "key"}, element("i", {"style": f"background:rgb({r},{g},{b})"}), name)
        for name, (r, g, b) in entries
    ]
    return element("p", {"class": "legend"}, *keys)


def headline(name: str, value: str) -> Markup:
    """Makes the one figure that counts, large, with its name."""
    return element("p", {"class": "headline"}, element("b", None, value), element("span", None, name))


def warning(text: str) -> Markup:
    """Makes a box that cannot be overlooked; it begins with the word itself, for those who see no colour."""
    return element("p", {"class": "warning"}, element("b", None, "Warning: "), text)


def note(text: str) -> Markup:
    """Makes a line of smaller text."""
    return element("p", {"class": "note"}, text)


def listing(text: str) -> Markup:
    """Makes a block of text with its line breaks, in a font of fixed width."""
    return element("pre", None, text)


def folded(title: str, *inside: Markup) -> Markup:
    """Makes a block whose parts are shown after a click on its title."""
    return element("details", None, element("summary", None, title), joined(*inside))
