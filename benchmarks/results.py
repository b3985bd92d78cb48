"""Writes RESULTS.md from every benchmarks/results/*.json, so that no figure in it was typed by hand."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, ROOT

HEAD = """# Results

Written by `python -m benchmarks.results` from `benchmarks/results/*.json`; do not edit. Each section is one
measurement: the command that made it, then what it gave. A commit that ends in `+` had changes not yet committed.
"""
KEYS = ("rows", "command", "seed", "wall_s", "machine", "date", "commit")


def read_result(path: Path) -> dict[str, Any]:
    """One measurement.

    Raises:
        ValueError: the file is not JSON, or lacks a key that a reader of RESULTS.md needs.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}; run its benchmark again") from error
    missing = [key for key in KEYS if key not in result]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; write it with benchmarks.record.write_result")
    return result


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """RESULTS.md of measurements by name, in the order of their names."""
    return "\n".join([HEAD, *(_section(name, results[name]) for name in sorted(results))])


def _section(name: str, result: Mapping[str, Any]) -> str:
    hardware = result["machine"]
    flags = ", ".join(hardware["flags"]) or "none of the flags that matter"
    seed = "none" if result["seed"] is None else result["seed"]
    lines = [
        f"## {name.replace('_', ' ')}",
        "",
        f"`{result['command']}`, seed {seed}, {_duration(result['wall_s'])}, {result['date']}, "
        f"commit {result['commit'] or 'unknown'}.",
        f"{hardware['processors']} processors of {hardware['processor']} ({flags}).",
        "",
        *_table(("what", "figure", "reference"), [(r["what"], r["figure"], r["reference"]) for r in result["rows"]]),
        "",
    ]
    if result.get("table"):
        head, *below = result["table"]
        lines += [*_table(head, below), ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "RESULTS.md")
    options = parser.parse_args(arguments)
    try:
        results = {path.stem: read_result(path) for path in sorted(options.results.glob("*.json"))}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    options.output.write_text(render(results), encoding="utf-8")
    print(f"{options.output}: {len(results)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main())
