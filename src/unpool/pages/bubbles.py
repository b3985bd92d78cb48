"""A chart of networks as bubbles, as SVG: a score against what it costs, the area by size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from unpool.pages.axes import Axis, axis, number, numbers
from unpool.pages.chart import COLOURS
from unpool.pages.markup import Markup, element, joined

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 90, 36, 48
LARGEST, SMALLEST = 34.0, 3.0  # radius in pixels
STANDALONE = (
    "svg{background:#fff;font-family:sans-serif}text{fill:#444;font-size:12px}.rule{stroke:#ddd}.dot{fill-opacity:.6}"
    ".s0{fill:#2f6db5}.s1{fill:#c8592a}.s2{fill:#3c8a4e}.s3{fill:#8a56a5}.s4{fill:#a8862a}.s5{fill:#3a8f96}"
)


class Bubble(NamedTuple):
    """One network: its name, position and size, all above 0 but for `y`."""

    name: str
    x: float
    y: float
    size: float


def bubble_chart(title: str, bubbles: Sequence[Bubble], *, x: str, y: str, size: str) -> Markup:
    """Draws bubbles whose areas are proportional to their sizes, the horizontal axis from 0.

    Args:
        title: above the chart.
        bubbles: what to draw.
        x: title of the horizontal axis, with its unit.
        y: title of the vertical axis.
        size: what the area means.
    """
    caption = element("figcaption", None, element("b", None, title), " ", f"The area of a bubble is its {size}.")
    return element("figure", {"class": "chart"}, caption, _sketch(title, bubbles, x=x, y=y))


def bubble_drawing(title: str, bubbles: Sequence[Bubble], *, x: str, y: str) -> Markup:
    """Returns the same as an SVG file, with its style."""
    return _sketch(title, bubbles, x=x, y=y, style=STANDALONE)


def _sketch(title: str, bubbles: Sequence[Bubble], *, x: str, y: str, style: str = "") -> Markup:
    across = axis([0.0, *(one.x for one in bubbles)], start=LEFT, end=WIDTH - RIGHT)
    up = axis([one.y for one in bubbles], start=HEIGHT - BOTTOM, end=TOP)
    most = max((one.size for one in bubbles), default=1.0)
    order = sorted(enumerate(bubbles), key=lambda entry: -entry[1].size)  # small ones in front
    names = ", ".join(one.name for one in bubbles)
    return element(
        "svg",
        {
            **{"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": f"{title}: {names}"},
            **({"xmlns": "http://www.w3.org/2000/svg"} if style else {}),
        },
        element("style", None, Markup(style)) if style else "",
        _grid(across, up),
        *(_circle(one, number, across=across, up=up, most=most) for number, one in order),
        *(_name(one, across=across, up=up, most=most) for one in bubbles),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x, "middle"),
        _text(4, 15, y, "start"),
    )


def radius(size: float, most: float) -> float:
    """Returns the radius in pixels, whose square is proportional to the size.

    Example:
        >>> radius(100, 100), radius(25, 100)
        (34.0, 17.0)
    """
    return max(LARGEST * math.sqrt(size / most), SMALLEST)


def _circle(one: Bubble, index: int, *, across: Axis, up: Axis, most: float) -> Markup:
    at = {"cx": f"{across.pixel(one.x):.1f}", "cy": f"{up.pixel(one.y):.1f}", "r": f"{radius(one.size, most):.1f}"}
    words = f"{one.name}: {number(one.x)}, {number(one.y)}, {number(one.size)}"
    return element(
        "circle", {"class": f"dot s{index % COLOURS}", **at, "opacity": "0.8"}, element("title", None, words)
    )


def _name(one: Bubble, *, across: Axis, up: Axis, most: float) -> Markup:
    return _text(across.pixel(one.x) + radius(one.size, most) + 4, up.pixel(one.y) + 4, one.name, "start")


def _grid(across: Axis, up: Axis) -> Markup:
    parts = []
    for tick, text in zip(up.ticks, numbers(up.ticks), strict=True):
        at = up.pixel(tick)
        parts += [_rule(LEFT, at, WIDTH - RIGHT, at), _text(LEFT - 8, at + 4, text, "end")]
    for tick, text in zip(across.ticks, numbers(across.ticks), strict=True):
        at = across.pixel(tick)
        parts += [_rule(at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 4), _text(at, HEIGHT - BOTTOM + 20, text, "middle")]
    return joined(*parts)


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", {"class": "rule", **ends})


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return element("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}, text)
