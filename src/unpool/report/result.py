"""What a run reached: one main score, a table of the others, and what to doubt in them."""

from collections.abc import Mapping
from typing import Any

from unpool.pages import blocks
from unpool.pages.markup import Markup
from unpool.report.words import (
    MOST_BARS,
    Described,
    duration,
    in_words,
    is_number,
    shown_metrics,
    training_facts,
)
from unpool.task import Baseline, is_above


def result_section(metrics: Mapping[str, Any], described: Described, best: str) -> list[Markup]:
    shown = shown_metrics(metrics, described)
    main = best if best in shown else next(iter(shown), "")
    rows = [(one.title, in_words(one, metrics[name])) for name, one in shown.items() if name != main]
    if (time_s := training_facts(metrics).get("time_s")) is not None:
        rows.append(("time", duration(time_s)))
    warning = _warning(metrics, described)
    notes = [
        _best(metrics, described, best),
        training_facts(metrics).get("selection"),
        *_absent(metrics),
        "" if warning else _baseline(metrics, described),
    ]
    return [
        *warning,
        *([blocks.headline(shown[main].title, in_words(shown[main], metrics[main]))] if main else []),
        *([blocks.table(rows, has_figures=True)] if rows else []),
        *(blocks.note(text) for text in notes if text),
    ]


def _warning(metrics: Mapping[str, Any], described: Described) -> list[Markup]:
    """That the network is no better than a trivial answer, where it is not."""
    baseline = _measured_baseline(metrics)
    description = described.get(baseline.metric) if baseline else None
    if baseline is None or description is None or is_above(metrics, baseline, description):
        return []
    value, trivial = (in_words(description, number) for number in (metrics[baseline.metric], baseline.value))
    return [
        blocks.warning(
            f"{description.title} is {value} and a trivial answer reaches {trivial}: what this network learned is of "
            f"no use yet. The trivial answer: {baseline.about}"
        )
    ]


def _measured_baseline(metrics: Mapping[str, Any]) -> Baseline | None:
    kept = metrics.get("baseline")
    return Baseline(**kept) if kept and is_number(kept["value"]) else None


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


def _baseline(metrics: Mapping[str, Any], described: Described) -> str:
    """What a trivial answer reaches, where the run measured that."""
    baseline = _measured_baseline(metrics)
    description = described.get(baseline.metric) if baseline else None
    if baseline is None or description is None:
        return ""
    reached = f"{description.title} {in_words(description, baseline.value)}"
    return f"To compare with, a trivial answer: {baseline.about} It reaches {reached}."


def _best(metrics: Mapping[str, Any], described: Described, name: str) -> str:
    """Where the evaluation was whose weights are the best, if not at the end."""
    description = shown_metrics(metrics, described).get(name)
    rows = [row for row in metrics.get("history") or [] if is_number(row.get(name))]
    if description is None or not rows:
        return ""
    sign = 1 if description.higher_is_better else -1
    best = max(rows, key=lambda row: sign * row[name])
    if sign * best[name] <= sign * metrics[name]:
        return "The figures are those of the last evaluation, which was the best one too."
    return (
        f"The figures are those of the last evaluation. The best {description.title} was "
        f"{in_words(description, best[name])} after epoch {best['epoch']}; the weights of that time are in "
        "best.safetensors. They were chosen on these same images, so their figure is not one to publish."
    )
