"""Draws a convolution over a small map as an SVG that moves by itself, without a script."""

from collections.abc import Sequence

from torch import Tensor

from unpool.inspection.axis_cells import AxisReads
from unpool.pages.markup import Markup, element, joined

CELL, MARGIN, GAP, LINE = 28, 12, 56, 22  # pixels
LARGEST_MATRIX = 64  # rows or columns up to which the matrix is drawn
SECONDS = 0.8  # of one step
_STYLE = """
.arithmetic text { font: 12px system-ui, sans-serif; fill: #6b7480; }
.arithmetic .input { fill: #7db3ff; stroke: #24528f; } .arithmetic .output { fill: #7fd1a2; stroke: #1d6b43; }
.arithmetic .zero { fill: none; stroke: #98a2ae; stroke-dasharray: 3 3; }
.arithmetic .tap { fill: #0b2f66; fill-opacity: .45; } .arithmetic .now { fill: #0b5a31; fill-opacity: .6; }
.arithmetic .window { fill: none; stroke: #d9480f; stroke-width: 2.5; }
.arithmetic .product { fill: #7db3ff; } .arithmetic .none { fill: #98a2ae; fill-opacity: .12; }
.arithmetic .index { font-size: 10px; fill: #10233f; text-anchor: middle; }
"""


def draw_arithmetic(down: AxisReads, across: AxisReads, matrix: Tensor, *, title: str) -> str:
    """Returns the SVG: the input with the moving filter, the output, and the matrix with the row of the moment.

    Args:
        down: the vertical axis.
        across: the horizontal one.
        matrix: (outputs, inputs) number of the tap of each product, 0 where there is none.
        title: read aloud in place of the picture.

    Example:
        >>> from unpool.inspection.axis_cells import axis_reads
        >>> import torch
        >>> one = axis_reads(2, kernel=2)
        >>> draw_arithmetic(one, one, torch.tensor([[1, 2, 3, 4]]), title="2x2").count('class="input"')
        4
    """
    top = MARGIN + LINE
    right = MARGIN + len(across.cells) * CELL + GAP
    outputs = (len(down.reads), len(across.reads))
    parts = [
        _text(MARGIN, MARGIN + 10, f"input {_inputs(down)} x {_inputs(across)}"),
        _field(down, across, MARGIN, top),
        _text(right, MARGIN + 10, f"output {outputs[0]} x {outputs[1]}"),
        _cells([(x, y, "output") for y in range(outputs[0]) for x in range(outputs[1])], right, top),
        _filter(down, across, MARGIN, top),
        _moving(_box("now", 0, 0), [(x, y) for y in range(outputs[0]) for x in range(outputs[1])], right, top),
    ]
    height = top + max(len(down.cells), outputs[0]) * CELL + MARGIN
    width = max(right + max(outputs[1], 4) * CELL, 2 * right - GAP) + MARGIN
    if max(matrix.shape) <= LARGEST_MATRIX:
        side = max(8, min(22, 560 // max(matrix.shape)))
        parts.append(_text(MARGIN, height + 10, f"matrix {matrix.shape[0]} x {matrix.shape[1]}, outputs by inputs"))
        parts.append(_matrix(matrix, MARGIN, height + LINE, side))
        height += LINE + matrix.shape[0] * side + MARGIN
        width = max(width, 2 * MARGIN + matrix.shape[1] * side)
    size = {"width": width, "height": height, "viewBox": f"0 0 {width} {height}"}
    names = {"xmlns": "http://www.w3.org/2000/svg", "class": "arithmetic", "role": "img", "aria-label": title}
    return element("svg", {**names, **size}, element("style", None, Markup(_STYLE)), *parts)


def _inputs(one: AxisReads) -> int:
    return sum(cell is not None for cell in one.cells)


def _field(down: AxisReads, across: AxisReads, left: int, top: int) -> Markup:
    """The cells that the filter moves over."""
    cells = [
        (x, y, "zero" if row is None or column is None else "input")
        for y, row in enumerate(down.cells)
        for x, column in enumerate(across.cells)
    ]
    return _cells(cells, left, top)


def _cells(cells: Sequence[tuple[int, int, str]], left: int, top: int) -> Markup:
    return joined(*(_box(kind, left + x * CELL, top + y * CELL) for x, y, kind in cells))


def _box(kind: str, x: float, y: float, *, side: float = CELL) -> Markup:
    at = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{side:g}", "height": f"{side:g}"}
    return element("rect", {"class": kind, **at})


def _filter(down: AxisReads, across: AxisReads, left: int, top: int) -> Markup:
    """The taps, each with its number in the weight from 1, and their frame, which move from output to output."""
    rows, columns = down.reads[0], across.reads[0]
    parts = []
    for y, row in zip(rows, down.taps, strict=True):
        for x, column in zip(columns, across.taps, strict=True):
            number = str(row * len(across.taps) + column + 1)
            parts += [_box("tap", x * CELL, y * CELL), _index(number, (x + 0.5) * CELL, (y + 0.6) * CELL)]
    sides = {"width": (columns[-1] + 1) * CELL, "height": (rows[-1] + 1) * CELL}
    parts.append(element("rect", {"class": "window", "x": 0, "y": 0, **sides}))
    steps = [(x[0], y[0]) for y in down.reads for x in across.reads]
    return _moving(joined(*parts), steps, left, top)


def _moving(inside: Markup, steps: Sequence[tuple[int, int]], left: int, top: int, *, side: float = CELL) -> Markup:
    """What stands at each of the steps, in cells, for one moment; without animation, at the first."""
    points = [f"{left + x * side:g} {top + y * side:g}" for x, y in steps]
    motion = element(
        "animateTransform",
        {
            "attributeName": "transform",
            "type": "translate",
            "calcMode": "discrete",
            "values": ";".join(points),
            "dur": f"{SECONDS * len(points):g}s",
            "repeatCount": "indefinite",
        },
    )
    return element("g", {"transform": f"translate({points[0]})"}, inside, motion)


def _matrix(matrix: Tensor, left: int, top: int, side: int) -> Markup:
    taps = int(matrix.max())
    parts = []
    for y, row in enumerate(matrix.tolist()):
        for x, tap in enumerate(row):
            at = {"x": left + x * side, "y": top + y * side, "width": side - 1, "height": side - 1}
            shade = {"fill-opacity": f"{0.3 + 0.7 * tap / taps:.2f}"} if tap else {}
            parts.append(element("rect", {"class": "product" if tap else "none", **at, **shade}))
            if tap and side >= 18:
                parts.append(_index(str(tap), left + (x + 0.48) * side, top + (y + 0.65) * side))
    frame = {"class": "window", "x": -1, "y": -1, "width": matrix.shape[1] * side + 1, "height": side + 1}
    steps = [(0, row) for row in range(len(matrix))]
    return joined(*parts, _moving(element("rect", frame), steps, left, top, side=side))


def _text(x: float, y: float, text: str) -> Markup:
    return element("text", {"x": f"{x:g}", "y": f"{y:g}"}, text)


def _index(text: str, x: float, y: float) -> Markup:
    return element("text", {"class": "index", "x": f"{x:g}", "y": f"{y:g}"}, text)
