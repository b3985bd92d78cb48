"""The table of a network as text, as wide as its content or as narrow as a terminal."""

import csv
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, NamedTuple

CUT = ".."
SHORTEST = 12  # characters that a cut name keeps


class _Column(NamedTuple):
    heading: str
    cell: Callable[[Any, bool], str]  # of a row, and whether it is to be short
    is_text: bool = False


def text_of(rows: Sequence[Any], width: int | None) -> tuple[list[str], list[str]]:
    """A line of headings and one for each row of a `Summary`, and the headings of what was left out.

    Args:
        rows: of the table.
        width: characters of a line; None for no limit. Names keep SHORTEST of theirs, however few there are.
    """
    lines = _aligned(rows, COLUMNS, short=False)
    if width is None or _width(lines) <= width:
        return lines, []
    columns = list(COLUMNS)
    left_out = []
    for heading in (None, *LESS_NEEDED):
        if heading is not None:
            columns = [column for column in columns if column.heading != heading]
            left_out.append(heading)
        lines = _aligned(rows, columns, short=True)
        if _width(lines) <= width:
            return lines, left_out
    most = max(max(len(row.name) for row in rows) - (_width(lines) - width), SHORTEST)
    return _aligned(rows, columns, short=True, longest=most), left_out


def _width(lines: Sequence[str]) -> int:
    return max(map(len, lines))


def _aligned(rows: Sequence[Any], columns: Sequence[_Column], *, short: bool, longest: int | None = None) -> list[str]:
    table = [[column.heading for column in columns]]
    table += [[column.cell(row, short) for column in columns] for row in rows]
    if longest is not None:
        table = [[_cut(line[0], longest), *line[1:]] for line in table]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    sides = ["<" if column.is_text else ">" for column in columns]
    ends = list(zip(sides, widths, strict=True))
    return [
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(line, ends, strict=True)).rstrip()
        for line in table
    ]


def _cut(name: str, longest: int) -> str:
    """The end of a long name, which differs from its neighbours'."""
    return name if len(name) <= longest else CUT + name[len(name) - longest + len(CUT) :]


def _count(key: str) -> Callable[[Any, bool], str]:
    def cell(row: Any, short: bool) -> str:  # noqa: FBT001, of a column
        count = getattr(row, key)
        return "-" if not count else short_count(count) if short else f"{count:,}"

    return cell


def short_count(count: int) -> str:
    """A count in five characters at most.

    Example:
        >>> short_count(999), short_count(9_408), short_count(118_013_952), short_count(1_500_000_000_000)
        ('999', '9.4K', '118M', '1500G')
    """
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return str(count)


def _axes(key: str) -> Callable[[Any, bool], str]:
    def cell(row: Any, short: bool) -> str:  # noqa: FBT001, of a column
        values = getattr(row, key)
        if values is None:
            return "?"
        return "x".join(f"{value:g}" for value in (values if len(set(values)) > 1 else values[:1])) or "-"

    return cell


def shape_text(shape: Sequence[int]) -> str:
    """Such as 3x224x224.

    Example:
        >>> shape_text((3, 224, 224)), shape_text(())
        ('3x224x224', '-')
    """
    return "x".join(map(str, shape)) or "-"


COLUMNS = (
    _Column("name", lambda row, short: row.name, is_text=True),
    _Column("layer", lambda row, short: row.layer, is_text=True),
    _Column("output", lambda row, short: shape_text(row.output), is_text=True),
    _Column("activations", _count("activations")),
    _Column("weights", _count("weights")),
    _Column("params", _count("params")),
    _Column("MACs", _count("macs")),
    _Column("field", _axes("field_size")),
    _Column("stride", _axes("field_stride")),
)


def markdown_of(rows: Sequence[Any]) -> str:
    """The table in Markdown, numbers at the right."""
    heads = [column.heading for column in COLUMNS]
    sides = [":--" if column.is_text else "--:" for column in COLUMNS]
    cells = [[column.cell(row, False).replace("|", "\\|") for column in COLUMNS] for row in rows]  # noqa: FBT003
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, sides, *cells))


FIELDS = ("name", "layer", "kind", "output", "activations", "weights", "params", "macs", "field_size", "field_stride")


def csv_of(rows: Sequence[Any]) -> str:
    """The table as CSV with a line of headings: numbers plain, axes joined by x, what is not known empty."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    writer.writerows([_plain(getattr(row, field)) for field in FIELDS] for row in rows)
    return text.getvalue()


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(f"{axis:.15g}" for axis in value)
    return "" if value is None else str(value)


LESS_NEEDED = ("weights", "stride", "activations", "field")  # left out in this order
