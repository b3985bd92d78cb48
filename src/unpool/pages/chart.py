"""Line charts as SVG; colours are those of the page's style, light or dark."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from unpool.pages.axes import Axis, Bucket, axis, finite, number, numbers, shortened
from unpool.pages.markup import Markup, element, joined

WIDTH, HEIGHT = 480, 270  # about as wide as on the page, so that its texts are as large as those around it
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 36, 48
COLOURS = 6  # series colours in the page's style
FEW = 40  # points up to which each is marked
LOG_FROM = 30  # factor between the largest and the smallest value from which an axis turns logarithmic

Scale = Literal["auto", "linear", "zero", "log"]


class Series(NamedTuple):
    """One line: its name and its (x, y) points in order; points without a finite y are left out."""

    name: str
    points: Sequence[tuple[float, float | None]]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    span: tuple[float, float] | None = None,
    scale: Scale = "auto",
    is_log_across: bool = False,
) -> Markup:
    """Draws a figure with one line per series; of long series it draws the mean, and a band for the spread.

    Args:
        title: above the chart.
        series: the lines; those without points are left out.
        x: title of the horizontal axis.
        y: title of the vertical axis, with the unit where it has one.
        span: what the horizontal axis shows at least; that of the values alone where None.
        scale: of the vertical axis: "linear"; "zero", which is linear and contains 0, so that heights can be compared;
            "log"; "auto" chooses "linear" or "log" by the values.
        is_log_across: whether the horizontal axis is logarithmic, its values above 0.
    """
    drawn = {one.name: points for one in series if (points := finite(one.points))}
    if not drawn:
        return _figure(title, [], element("p", {"class": "none"}, "no values"))
    lines = [shortened(points) for points in drawn.values()]
    across, up = _axes(lines, scale=scale, span=span or (), is_log_across=is_log_across)
    marks = [
        _line(name, buckets, across=across, up=up, index=i)
        for i, (name, buckets) in enumerate(zip(drawn, lines, strict=True))
    ]
    sketch = element(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": f"{title}: {', '.join(drawn)}"},
        _grid(across, up),
        *marks,
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x, anchor="middle"),
        _text(4, 15, y, anchor="start"),
    )
    return _figure(title, list(drawn), sketch)


def _figure(title: str, names: Sequence[str], inside: Markup) -> Markup:
    keys = [
        element("span", {"class": "key"}, element("i", {"class": _colour(i)}), name) for i, name in enumerate(names)
    ]
    caption = element("figcaption", None, element("b", None, title), *(keys if len(names) > 1 else ()))
    return element("figure", {"class": "chart"}, caption, inside)


def _axes(
    lines: Sequence[Sequence[Bucket]], *, scale: Scale, span: Sequence[float], is_log_across: bool
) -> tuple[Axis, Axis]:
    buckets = [bucket for line in lines for bucket in line]
    heights = [bucket.mean for bucket in buckets]
    wide = scale == "auto" and min(heights) > 0 and max(heights) / min(heights) > LOG_FROM
    log = min(heights) > 0 and (wide or scale == "log")
    if scale == "zero":
        heights += [0.0, *(bucket.high for bucket in buckets)]
    values = [*span, *(bucket.x for bucket in buckets)]
    across = axis(values, start=LEFT, end=WIDTH - RIGHT, log=is_log_across, tight=not is_log_across)
    return across, axis(heights, start=HEIGHT - BOTTOM, end=TOP, log=log)


def _grid(across: Axis, up: Axis) -> Markup:
    parts = []
    for tick, text in zip(up.ticks, numbers(up.ticks), strict=True):
        at = up.pixel(tick)
        parts += [_rule(LEFT, at, WIDTH - RIGHT, at), _text(LEFT - 8, at + 4, text, anchor="end")]
    for tick, text in zip(across.ticks, numbers(across.ticks), strict=True):
        at = across.pixel(tick)
        parts += [
            _rule(at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 4),
            _text(at, HEIGHT - BOTTOM + 20, text, anchor="middle"),
        ]
    return joined(*parts)


def _line(name: str, buckets: Sequence[Bucket], *, across: Axis, up: Axis, index: int) -> Markup:
    colour = _colour(index)
    parts = []
    if any(bucket.high > bucket.low for bucket in buckets):
        top = [(bucket.x, bucket.high) for bucket in buckets]
        below = [(bucket.x, bucket.low) for bucket in reversed(buckets)]
        band = _path([*top, *below], across, up)
        parts.append(element("path", {"class": f"band {colour}", "d": f"{band}Z"}))
    means = [(bucket.x, bucket.mean) for bucket in buckets]
    parts.append(element("path", {"class": f"line {colour}", "d": _path(means, across, up)}))
    if len(buckets) <= FEW:
        parts += [_dot(name, point, across=across, up=up, colour=colour) for point in means]
    return joined(*parts)


def _colour(index: int) -> str:
    """Classes of a line in the page's style: after the last colour the first returns, dashed."""
    return f"s{index % COLOURS}" if index < COLOURS else f"s{index % COLOURS} again"


def _path(points: Sequence[tuple[float, float]], across: Axis, up: Axis) -> str:
    return "M" + "L".join(f"{across.pixel(x):.1f} {up.pixel(y):.1f}" for x, y in points)


def _dot(name: str, point: tuple[float, float], *, across: Axis, up: Axis, colour: str) -> Markup:
    x, y = point
    at = {"class": f"dot {colour}", "cx": f"{across.pixel(x):.1f}", "cy": f"{up.pixel(y):.1f}", "r": "3"}
    return element("circle", at, element("title", None, f"{name} {number(y)} at {number(x)}"))


def _rule(x1: float, y1: float, x2: float, y2: float) -> Markup:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return element("line", {"class": "rule", **ends})


def _text(x: float, y: float, text: str, *, anchor: str) -> Markup:
    return element("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}, text)
