"""The page that compares runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from unpool.ops.paired_differences import Difference
from unpool.pages.blocks import note, table
from unpool.pages.bubbles import Bubble, bubble_chart, bubble_drawing
from unpool.pages.chart import Series, line_chart
from unpool.pages.images import Card, grid
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.recipe import Recipe
from unpool.report.words import duration, in_words, is_number, shown_metrics, titled
from unpool.task import Description


class Run(NamedTuple):
    """One run as the page shows it; `macs` is None where its network cannot be counted."""

    name: str
    score: float | None
    params: int
    macs: int | None
    recipe: Recipe
    metrics: Mapping[str, Any]
    log: Path

    @property
    def time_s(self) -> float | None:
        return (self.metrics.get("training") or {}).get("time_s")


def runs_view(  # noqa: PLR0913, parts of one page
    runs: Sequence[Run],
    differences: Sequence[Difference | None],
    cards: Mapping[str, Sequence[Card]],
    *,
    metric: str,
    described: Mapping[str, Description],
    images: int,
    split: str,
    units: int,
) -> View:
    """Joins scores, differences, curves, settings and pictures."""
    description = described[metric]
    verdicts = [verdict(one, description) for one in differences]
    bubbles = [
        Bubble(run.name, run.macs / 1e9, _shown(description, run.score), run.params)
        for run in runs
        if run.macs and run.score is not None
    ]
    title, y = f"{description.title} against operations", "%" if description.is_share else titled(description)
    chart = bubble_chart(title, bubbles, x="multiply-adds, 1e9", y=y, size="number of parameters") if bubbles else ""
    settings = differing_settings([run.recipe for run in runs])
    parts = {
        name: [grid(differ)] if differ else [note("Every image has the same score.")] for name, differ in cards.items()
    }
    headings = ("setting", *(run.name for run in runs))
    lines = table(settings, headings=headings) if settings else note("No setting differs.")
    scores = _scores(runs, description), _differences(runs, differences, verdicts, description)
    sections = [
        Section("Score", [*scores, _about(images, split, units, differences)]),
        Section("Score against operations", [Markup(chart)] if chart else []),
        Section("Curves", [element("div", {"class": "charts"}, *_curves(runs, described))]),
        Section("Settings that differ", [lines]),
        *(Section(f"Images: {runs[0].name} and {name}", shown) for name, shown in parts.items()),
    ]
    values = {
        **{"metric": metric, "split": split, "images": images, "drawn": units, "settings": _by_setting(settings, runs)},
        "runs": [
            {"name": run.name, "score": run.score, "params": run.params, "macs": run.macs, "time_s": run.time_s}
            for run in runs
        ],
        "differences": [
            {"first": runs[0].name, "second": run.name, "verdict": words, **(one._asdict() if one else {"value": None})}
            for run, one, words in zip(runs[1:], differences, verdicts, strict=True)
        ],
    }
    drawing = bubble_drawing(title, bubbles, x="multiply-adds, 1e9", y=y) if bubbles else ""
    names = " and ".join(run.name for run in runs)
    return View(
        names, sections, values, drawing=drawing, subtitle=f"{description.title} on {images:,} images ({split})"
    )


def verdict(difference: Difference | None, description: Description) -> str:
    """Whether the second run is better or worse than the first, or neither is shown."""
    if difference is None:
        return "no score"
    if not difference.is_shown:
        return "not shown"
    return "better" if (difference.value > 0) == description.higher_is_better else "worse"


def _shown(description: Description, value: float) -> float:
    return 100 * value if description.is_share else value


def _scores(runs: Sequence[Run], description: Description) -> Markup:
    rows = [
        (
            run.name,
            "n/a" if run.score is None else in_words(description, run.score),
            f"{run.params:,}",
            "-" if run.macs is None else f"{run.macs / 1e9:.3f}",
            "-" if run.time_s is None else duration(run.time_s),
        )
        for run in runs
    ]
    return table(rows, headings=("run", description.title, "parameters", "1e9 multiply-adds", "training time"))


def _differences(
    runs: Sequence[Run], differences: Sequence[Difference | None], verdicts: Sequence[str], description: Description
) -> Markup:
    rows = []
    for run, one, words in zip(runs[1:], differences, verdicts, strict=True):
        text = "-" if one is None else f"{_signed(description, one.value)} [{_interval(description, one)}]"
        rows.append((f"{run.name} minus {runs[0].name}", text, words))
    return table(rows, headings=("difference", "95 % interval", "verdict"))


def _interval(description: Description, one: Difference) -> str:
    return f"{_signed(description, one.low)}, {_signed(description, one.high)}"


def _signed(description: Description, value: float) -> str:
    unit = " %" if description.is_share else f" {description.unit}" if description.unit else ""
    return f"{_shown(description, value):+.3g}{unit}"


def _about(images: int, split: str, units: int, differences: Sequence[Difference | None]) -> Markup:
    known = next((one for one in differences if one is not None), None)
    if known is None:
        return note("The metric has no value here, so that nothing can be compared.")
    drawn = "images" if units == images else f"{units} groups of neighbouring images"
    return note(
        f"All networks answered the same {images:,} images of {split}, in float32. Paired bootstrap: {drawn} are drawn "
        f"with replacement {known.replicates:,} times (seed {known.seed}); the interval holds the middle 95 % of the "
        "differences. Not shown: the interval holds 0. It says what other images would change, and nothing of other "
        "seeds of training: for these, train each setting with several."
    )


def differing_settings(recipes: Sequence[Recipe]) -> list[tuple[str, ...]]:
    """A line for each key of which the recipes differ, with the value of each.

    Example:
        >>> from unpool.recipe import load_recipe
        >>> differing_settings([load_recipe("scenes_unet", {"train.epochs": epochs}) for epochs in (2, 3)])
        [('train.epochs', '2', '3')]
    """
    flat = [dict(_flat(recipe.model_dump(mode="json"))) for recipe in recipes]
    keys = dict.fromkeys(key for one in flat for key in one)
    lines = [(key, *(_plain(one.get(key)) for one in flat)) for key in keys]
    return [line for line in lines if len(set(line[1:])) > 1]


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = []
    for key, value in values.items():
        entries += _flat(value, f"{above}{key}.") if isinstance(value, dict) and value else [(f"{above}{key}", value)]
    return entries


def _plain(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _by_setting(lines: Sequence[tuple[str, ...]], runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    return {key: dict(zip((run.name for run in runs), values, strict=True)) for key, *values in lines}


def _curves(runs: Sequence[Run], described: Mapping[str, Description]) -> list[Markup]:
    """Metrics of the validation over one another, then the training loss, over the steps."""
    histories = {run.name: run.metrics.get("history") or [] for run in runs}
    last = next((rows[-1] for rows in histories.values() if rows), {})
    charts = []
    for name, one in shown_metrics(last, described).items():
        factor = 100.0 if one.is_share else 1.0
        lines = [Series(run, _points(rows, name, factor)) for run, rows in histories.items()]
        charts.append(line_chart(f"Validation: {one.title}", lines, x="step", y="%" if one.is_share else titled(one)))
    logs = [Series(run.name, _points(_read_steps(run.log), "loss", 1.0)) for run in runs]
    return [*charts, line_chart("Training loss", logs, x="step", y="loss")]


def _points(rows: Sequence[Mapping[str, Any]], name: str, factor: float) -> list[tuple[float, float | None]]:
    return [(row["step"], factor * row[name] if is_number(row.get(name)) else None) for row in rows if "step" in row]


def _read_steps(path: Path) -> list[dict[str, Any]]:
    """Steps of a log; a line that was cut off in writing is left out."""
    steps = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict) and value.get("kind", "step") == "step":
            steps.append(value)
    return steps
