"""The page of a run: what it reached, how it went, where it errs, and all that is needed to repeat it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from unpool.errors import ModelFileError
from unpool.pages import blocks
from unpool.pages.axes import number
from unpool.pages.chart import Series, line_chart
from unpool.pages.images import Card, Picture, grid
from unpool.pages.markup import Markup, element
from unpool.pages.page import Section, build_page
from unpool.run_directory import RunDirectory
from unpool.task import LOSS, Description

Described = Mapping[str, Description]
MOST_BARS = 40
MOST_MATRIX = 20
MOST_SKIPPED = 50
MUCH_WAITING = 0.05  # share of the time


class Example(NamedTuple):
    """One image of the report.

    Attributes:
        name: of its file.
        image, truth, prediction: (3, H, W) uint8, drawn as they are to be shown; no truth where there is none.
        caption: one line about it.
    """

    name: str
    image: Tensor
    truth: Tensor | None
    prediction: Tensor
    caption: str


def write_report(
    run: Path, *, described: Described, best: str, examples: Sequence[Example], worst: Sequence[Example]
) -> Path:
    """Makes report.html of a finished run, from recipe.yaml, config.json, log.jsonl and metrics.json.

    Args:
        run: the run directory.
        described: how each metric is shown, in order; others are left to metrics.json.
        best: name of the metric that chose the best weights.
        examples: images with truth and prediction to look at.
        worst: those that went worst, the worst first.

    Returns:
        The path of the page: one file, with everything in it.

    Raises:
        ModelFileError: metrics.json or recipe.yaml is missing or broken.
        EnvironmentFault: the page cannot be written.
    """
    directory = RunDirectory(run)
    metrics = directory.read_json("metrics.json")
    config = directory.read_json("config.json") if (directory / "config.json").is_file() else {}
    log = _read_log(directory / "log.jsonl")
    key = _colours(config)
    sections = [
        Section("Result", _result(metrics, described, best)),
        Section("Training", _curves(metrics, log, described)),
        Section("Classes", _classes(metrics, described)),
        Section("Examples", [key, grid(_cards(examples))] if examples else []),
        Section("Worst", [key, grid(_cards(worst)), blocks.note(WORST)] if worst else []),
        Section("Data", _data(metrics)),
        Section("Recipe", [blocks.listing(_recipe(directory))]),
        Section("Machine", _machine(metrics)),
    ]
    directory.write_page(
        "report.html", build_page(directory.path.absolute().name, sections, subtitle=_subtitle(config))
    )
    return directory / "report.html"


WORST = (
    "Images of the validation set on which the loss is highest, among those looked at: a wrong label shows here first."
)


def _read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of the log; one that was cut off in writing is left out."""
    lines = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                value = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                lines.append(value)
    return lines


def _recipe(directory: RunDirectory) -> str:
    try:
        return (directory / "recipe.yaml").read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{directory / 'recipe.yaml'} cannot be read: {error}") from error


def _subtitle(config: Mapping[str, Any]) -> str:
    network = config.get("network", {})
    name = network.get("name", "")
    if network.get("backbone"):
        name = f"{name} on {network['backbone']}"
    task = config.get("task", {}).get("name", "")
    return ", ".join(part for part in (name, task) if part)


def _colours(config: Mapping[str, Any]) -> Markup:
    info = config.get("info", {})
    if not info.get("palette"):
        return Markup()
    return blocks.legend(info.get("classes", ()), [(r, g, b) for r, g, b in info["palette"]])


def _result(metrics: Mapping[str, Any], described: Described, best: str) -> list[Markup]:
    shown = _measured(metrics, described)
    tiles = [(description.title, _value(description, metrics[name])) for name, description in shown.items()]
    if (time_s := _training(metrics).get("time_s")) is not None:
        tiles.append(("time", _time(time_s)))
    notes = [_best(metrics, described, best), *_absent(metrics), _baseline(metrics, described)]
    return [blocks.tiles(tiles), *(blocks.note(text) for text in notes if text)]


def _absent(metrics: Mapping[str, Any]) -> list[str]:
    """Which classes were not measured, and which never learned, a sentence each; empty where there are none."""
    data = metrics.get("data") or {}
    measured = (
        "are not measured, since the validation set has none of them: their scores are n/a, means are over the rest"
    )
    learned = "were never learned, since the training set has none of them"
    return [
        f"Classes that {reason}: {', '.join(names[:MOST_BARS])}{', ...' if len(names) > MOST_BARS else ''}."
        for names, reason in ((data.get("not_measured"), measured), (data.get("never_learned"), learned))
        if names
    ]


def _measured(metrics: Mapping[str, Any], described: Described) -> Described:
    """Descriptions of the single numbers that there are, in order, the loss last."""
    known = {**described, "loss": LOSS}
    return {name: one for name, one in known.items() if not one.each and _is_number(metrics.get(name))}


def _baseline(metrics: Mapping[str, Any], described: Described) -> str:
    """What a trivial answer reaches, where the run measured that."""
    baseline = metrics.get("baseline")
    description = described.get(baseline["metric"]) if baseline else None
    if baseline is None or description is None:
        return ""
    return f"{baseline['about']} It reaches {description.title} {_value(description, baseline['value'])}."


def _best(metrics: Mapping[str, Any], described: Described, name: str) -> str:
    """Where the evaluation was whose weights are the best, if not at the end."""
    description = _measured(metrics, described).get(name)
    rows = [row for row in metrics.get("history") or [] if _is_number(row.get(name))]
    if description is None or not rows:
        return ""
    sign = 1 if description.higher_is_better else -1
    best = max(rows, key=lambda row: sign * row[name])
    if sign * best[name] <= sign * metrics[name]:
        return "The figures are those of the last evaluation, which was the best one too."
    return (
        f"The figures are those of the last evaluation. The best {description.title} was "
        f"{_value(description, best[name])} after epoch {best['epoch']}; the weights of that time are in "
        "best.safetensors. They were chosen on these same images, so their figure is not one to publish."
    )


def _curves(metrics: Mapping[str, Any], log: Sequence[Mapping[str, Any]], described: Described) -> list[Markup]:
    steps = [line for line in log if line.get("kind", "step") == "step" and "step" in line]
    history = [row for row in metrics.get("history") or [] if _is_number(row.get("step"))]
    losses = [Series("training", _points(steps, "loss")), Series("validation", _points(history, "loss"))]
    measured = (
        {name: one for name, one in _measured(history[-1], described).items() if name != "loss"} if history else {}
    )
    shares = {name: one for name, one in measured.items() if one.is_share}
    charts = [line_chart("Loss", losses, x="step")]
    if shares:
        series = [Series(one.title, _points(history, name)) for name, one in shares.items()]
        charts.append(line_chart("Validation", series, x="step"))
    charts += [
        line_chart(_title(one), [Series("validation", _points(history, name))], x="step")
        for name, one in measured.items()
        if name not in shares
    ]
    if steps:
        charts.append(line_chart("Learning rate", [Series("lr", _points(steps, "lr"))], x="step", scale="zero"))
        charts.append(
            line_chart("Images a second", [Series("images/s", _points(steps, "images_per_s"))], x="step", scale="zero")
        )
    return [element("div", {"class": "charts"}, *charts), *_waiting(steps, _training(metrics).get("time_s"))]


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float | None]]:
    return [(row["step"], row[name] if _is_number(row.get(name)) else None) for row in rows]


def _waiting(steps: Sequence[Mapping[str, Any]], time_s: float | None) -> list[Markup]:
    """Who waited for whom, in words."""
    waited = sum(line.get("waited_for_data_s") or 0.0 for line in steps)
    if not steps or not time_s:
        return []
    share = waited / time_s
    advice = "reading kept up" if share < MUCH_WAITING else "give it more workers, or keep the data in memory"
    return [blocks.note(f"Training waited {_time(waited)} for data, {_share(share)} of its time: {advice}.")]


def _classes(metrics: Mapping[str, Any], described: Described) -> list[Markup]:
    """The first metric that has a number for each class, and the confusion of the classes."""
    tables = {name: one for name, one in described.items() if one.each and not one.is_matrix}
    name = next((name for name in tables if isinstance(metrics.get(name), dict)), None)
    if name is None:
        return []
    one, values = tables[name], metrics[name]
    parts = [element("h3", None, f"{one.title} of each {one.each}"), *_bars(values, one)]
    for key, description in described.items():
        if description.is_matrix and metrics.get(key):
            parts += _confusion(metrics[key], list(values))
    return parts


def _bars(values: Mapping[str, float | None], description: Description) -> list[Markup]:
    sign = 1 if description.higher_is_better else -1
    order = sorted(values.items(), key=lambda entry: -math.inf if entry[1] is None else sign * entry[1], reverse=True)
    rows = [
        blocks.Bar(
            name, value if description.is_share else None, "absent" if value is None else _value(description, value)
        )
        for name, value in order
    ]
    if len(rows) <= MOST_BARS:
        return [blocks.bars(rows)]
    half = MOST_BARS // 2
    left_out = blocks.note(f"The {half} best and the {half} worst of {len(rows)}, one for each {description.each}.")
    return [blocks.bars(rows[:half]), element("hr"), blocks.bars(rows[-half:]), left_out]


def _confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> list[Markup]:
    if len(names) <= MOST_MATRIX:
        table = blocks.matrix(counts, names, rows="truth", columns="prediction")
        return [element("h3", None, "Confusion"), table]
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
        blocks.table(rows, headings=("truth", "prediction", "images")),
    ]


def _cards(examples: Sequence[Example]) -> list[Card]:
    return [
        Card(
            one.name,
            one.caption,
            (Picture("image", one.image), Picture("truth", one.truth), Picture("prediction", one.prediction)),
        )
        for one in examples
    ]


def _data(metrics: Mapping[str, Any]) -> list[Markup]:
    data = metrics.get("data")
    if not data:
        return []
    skipped = data.get("skipped") or []
    parts = [
        blocks.tiles([(f"{split} images", number(data[split])) for split in ("train", "val", "test") if split in data])
    ]
    parts += [_counts(name, one) for name, one in (data.get("classes") or {}).items() if len(one["counts"]) > 1]
    if not skipped:
        return [*parts, blocks.note("No file was skipped.")]
    rows = [_fault(fault) for fault in skipped[:MOST_SKIPPED]]
    listed = [blocks.table(rows, headings=("file", "reason"))]
    if len(skipped) > len(rows):
        listed.append(blocks.note(f"and {len(skipped) - len(rows)} more: see data.json"))
    title = "1 file was skipped" if len(skipped) == 1 else f"{len(skipped)} files were skipped"
    return [*parts, blocks.folded(title, *listed)]


def _counts(name: str, counted: Mapping[str, Any]) -> Markup:
    """How often each class occurs in the targets of the training set, the most frequent first."""
    counts = sorted(counted["counts"].items(), key=lambda entry: -entry[1])
    whole = sum(counted["counts"].values()) or 1
    kept = counts if len(counts) <= MOST_BARS else [*counts[: MOST_BARS // 2], *counts[-MOST_BARS // 2 :]]
    ratio = counted.get("largest_to_smallest")
    title = f"Classes of the training set ({name})" + (f": largest to smallest {number(ratio)} to 1" if ratio else "")
    rows = [blocks.Bar(one, count / whole, f"{count:,}") for one, count in kept]
    return blocks.folded(title, blocks.bars(rows))


def _fault(fault: Any) -> tuple[str, str]:
    if isinstance(fault, dict):
        return str(fault.get("path", "")), str(fault.get("reason", ""))
    if isinstance(fault, list | tuple) and len(fault) > 1:
        return str(fault[0]), str(fault[1])
    return str(fault), ""


def _machine(metrics: Mapping[str, Any]) -> list[Markup]:
    training = _training(metrics)
    rows = [("time", _time(training["time_s"]))] if training.get("time_s") is not None else []
    rows += [
        (name.replace("_", " "), _plain(training[name]))
        for name in ("precision", "memory_format", "images_seen", "skipped_steps")
        if name in training
    ]
    for part in ("hardware", "versions"):
        rows += [
            (name, _plain(value)) for name, value in (training.get(part) or {}).items() if value not in (None, [], "")
        ]
    return [blocks.table(rows)] if rows else []


def _training(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("training") or {}


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return number(value) if _is_number(value) else str(value)


def _title(description: Description) -> str:
    return f"{description.title}, {description.unit}" if description.unit else description.title


def _value(description: Description, value: float) -> str:
    if description.is_share:
        return _share(value)
    return f"{number(value)} {description.unit}" if description.unit else number(value)


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
