"""What a run says of itself beside a task's metrics, and that no metric takes such a name."""

from collections.abc import Iterable, Mapping
from typing import Any

from unpool.task import LOSS, Task

FACTS = (
    frozenset(  # names that no metric may have: they stand beside metrics in metrics.json, log.jsonl and evaluations
        {
            *("loss", "images", "epoch", "step", "kind", "history", "training", "data", "baseline"),
            *("split", "weights", "skipped", "not_measured", "run", "already_complete", "averaged"),
        }
    )
)


def check_described(task: Task) -> None:
    """Raises TypeError if the metric that chooses the best weights is not described, or one has a name of `FACTS`."""
    name = type(task).__name__
    if task.best not in {**task.described, "loss": LOSS}:
        raise TypeError(f"{name}.best is '{task.best}', which {name}.described lacks: describe it, or choose another")
    _check_names(name, task.described)


def check_measured(task: Task) -> None:
    """Raises TypeError if the metric does not compute what chooses the best weights, or computes a name of `FACTS`."""
    name, measured = type(task).__name__, task.metric().compute()
    if task.best not in {*measured, "loss"}:
        raise TypeError(f"{name}.best is '{task.best}', which its metric does not compute: it gives {list(measured)}")
    _check_names(name, measured)


def _check_names(name: str, metrics: Iterable[str]) -> None:
    if taken := sorted(FACTS & set(metrics)):
        raise TypeError(
            f"{name} calls a metric {', '.join(taken)}, as a run calls a fact of its own: rename the metric"
        )


def with_facts(metrics: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """Metrics and what a run adds to them, in one dict.

    Raises:
        TypeError: a fact is not in `FACTS`, or a metric is.

    >>> with_facts({"accuracy": 0.5}, loss=0.25)
    {'accuracy': 0.5, 'loss': 0.25}
    """
    if unknown := sorted(set(facts) - FACTS):
        raise TypeError(f"a run has no facts {', '.join(unknown)}: add them to FACTS")
    if taken := sorted(set(facts) & set(metrics)):
        raise TypeError(f"metrics and a run's own facts have equal names, {', '.join(taken)}: rename the metric")
    return {**metrics, **facts}
