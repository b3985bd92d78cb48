"""How a run went."""

from collections.abc import Mapping, Sequence
from typing import Any

from unpool.pages import blocks
from unpool.pages.chart import Series, line_chart
from unpool.pages.markup import Markup, element
from unpool.report.words import Described, duration, in_percent, is_number, shown_metrics, titled, training_facts

MUCH_WAITING = 0.05  # share of the time


def curves_section(metrics: Mapping[str, Any], log: Sequence[Mapping[str, Any]], described: Described) -> list[Markup]:
    steps = [line for line in log if line.get("kind", "step") == "step" and "step" in line]
    history = [row for row in metrics.get("history") or [] if is_number(row.get("step"))]
    losses = [Series("training", _points(steps, "loss")), Series("validation", _points(history, "loss"))]
    measured = (
        {name: one for name, one in shown_metrics(history[-1], described).items() if name != "loss"} if history else {}
    )
    shares = {name: one for name, one in measured.items() if one.is_share}
    charts = [line_chart("Loss", losses, x="step")]
    if shares:
        series = [Series(one.title, _points(history, name)) for name, one in shares.items()]
        charts.append(line_chart("Validation", series, x="step"))
    charts += [
        line_chart(titled(one), [Series("validation", _points(history, name))], x="step")
        for name, one in measured.items()
        if name not in shares
    ]
    if steps:
        charts.append(line_chart("Learning rate", [Series("lr", _points(steps, "lr"))], x="step", scale="zero"))
        charts.append(
            line_chart("Images a second", [Series("images/s", _points(steps, "images_per_s"))], x="step", scale="zero")
        )
    return [element("div", {"class": "charts"}, *charts), *_waiting(steps, training_facts(metrics).get("time_s"))]


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float | None]]:
    return [(row["step"], row[name] if is_number(row.get(name)) else None) for row in rows]


def _waiting(steps: Sequence[Mapping[str, Any]], time_s: float | None) -> list[Markup]:
    """Who waited for whom, in words."""
    waited = sum(line.get("waited_for_data_s") or 0.0 for line in steps)
    if not steps or not time_s:
        return []
    share = waited / time_s
    advice = "reading kept up" if share < MUCH_WAITING else "give it more workers, or keep the data in memory"
    return [blocks.note(f"Training waited {duration(waited)} for data, {in_percent(share)} of its time: {advice}.")]
