"""Numbers of a run as a report writes them."""

from collections.abc import Mapping
from typing import Any

from unpool.pages.axes import number
from unpool.task import LOSS, Description

Described = Mapping[str, Description]
MOST_BARS = 40


def shown_metrics(metrics: Mapping[str, Any], described: Described) -> Described:
    """Descriptions of the single numbers that there are, in order, the loss last."""
    known = {**described, "loss": LOSS}
    return {name: one for name, one in known.items() if not one.each and is_number(metrics.get(name))}


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def titled(description: Description) -> str:
    return f"{description.title}, {description.unit}" if description.unit else description.title


def in_words(description: Description, value: float) -> str:
    if description.is_share:
        return in_percent(value)
    return f"{number(value)} {description.unit}" if description.unit else number(value)


def in_percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return number(value) if is_number(value) else str(value)


def training_facts(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("training") or {}
