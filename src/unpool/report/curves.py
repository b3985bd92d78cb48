"""How a run went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unpool.pages import blocks
from unpool.pages.chart import Scale, Series, line_chart
from unpool.pages.markup import Markup, element
from unpool.report.words import Described, duration, in_percent, is_number, shown_metrics, titled, training_facts

Rows = Sequence[Mapping[str, Any]]
MUCH_WAITING = 0.05  # share of the time


def curves_section(metrics: Mapping[str, Any], log: Sequence[Mapping[str, Any]], described: Described) -> list[Markup]:
    """Charts over the epochs; over the steps where no evaluation says how many make an epoch."""
    steps = [line for line in log if line.get("kind", "step") == "step" and "step" in line]
    history = [row for row in metrics.get("history") or [] if is_number(row.get("step"))]
    across = _Across.of(history)
    charts = [*_losses(steps, history, across), *_validation(history, described, across)]
    for title, name in (("Learning rate", "lr"), ("Images a second", "images_per_s")) if steps else ():
        charts.append(across.chart(title, {title.lower(): (steps, name)}, y=title.lower(), scale="zero"))
    return [element("div", {"class": "charts"}, *charts), *_waiting(steps, training_facts(metrics).get("time_s"))]


def _losses(steps: Rows, history: Rows, across: "_Across") -> list[Markup]:
    return [across.chart("Loss", {"training": (steps, "loss"), "validation": (history, "loss")}, y="loss")]


def _validation(history: Rows, described: Described, across: "_Across") -> list[Markup]:
    """The shares in one chart, in percent; each of the others in one of its own."""
    measured = shown_metrics(history[-1], described) if history else {}
    shares = {one.title: (history, name) for name, one in measured.items() if one.is_share}
    charts = [across.chart("Validation", shares, y="%", factor=100)] if shares else []
    others = {name: one for name, one in measured.items() if not one.is_share and name != "loss"}
    return charts + [
        across.chart(one.title, {one.title: (history, name)}, y=titled(one)) for name, one in others.items()
    ]


@dataclass(frozen=True)
class _Across:
    """The horizontal axis of all charts.

    Attributes:
        name: of what it counts.
        per_step: what one step is of that.
        last: its end.
    """

    name: str
    per_step: float
    last: float | None

    @classmethod
    def of(cls, history: Rows) -> "_Across":
        last = history[-1] if history else {}
        if not last.get("step") or not last.get("epoch"):
            return cls("step", 1.0, None)
        return cls("epoch", last["epoch"] / last["step"], last["epoch"])

    def chart(
        self, title: str, lines: Mapping[str, tuple[Rows, str]], *, y: str, factor: float = 1.0, scale: Scale = "auto"
    ) -> Markup:
        series = [Series(name, self._points(rows, key, factor)) for name, (rows, key) in lines.items()]
        span = None if self.last is None else (0.0, self.last)
        return line_chart(title, series, x=self.name, y=y, span=span, scale=scale)

    def _points(self, rows: Rows, name: str, factor: float) -> list[tuple[float, float | None]]:
        return [(row["step"] * self.per_step, factor * row[name] if is_number(row.get(name)) else None) for row in rows]


def _waiting(steps: Sequence[Mapping[str, Any]], time_s: float | None) -> list[Markup]:
    """Who waited for whom, in words."""
    waited = sum(line.get("waited_for_data_s") or 0.0 for line in steps)
    if not steps or not time_s:
        return []
    share = waited / time_s
    advice = "reading kept up" if share < MUCH_WAITING else "give it more workers, or keep the data in memory"
    return [blocks.note(f"Training waited {duration(waited)} for data, {in_percent(share)} of its time: {advice}.")]
