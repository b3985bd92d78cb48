"""Writes metrics as a table."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from unpool.cli.console import write_table


def write_metrics(metrics: Mapping[str, Any]) -> None:
    """Writes the numbers, one per line; those of a group, such as by class, are indented below its name."""
    rows: list[tuple[str, str]] = []
    for name, value in metrics.items():
        if name == "baseline":  # its one number belongs to the metric that it names
            rows += [(name, ""), (f"  {value['metric']}", _shown(value["value"]))]
        elif isinstance(value, Mapping):
            inner = [(f"  {inner}", _shown(number)) for inner, number in value.items() if _is_number(number)]
            rows += [(name, ""), *inner] if inner else []
        elif _is_number(value):
            rows.append((name, _shown(value)))
    if rows:
        write_table(rows)


def _is_number(value: Any) -> TypeGuard[float | None]:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _shown(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
