"""Writes RESULTS.md from every benchmarks/results/*.json, so that no figure in it was typed by hand."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, ROOT

HEAD = """# Results

Written by `make results` from `benchmarks/results/*.json`; do not edit. The first table has one row a claim and names
the file and the key that hold it; the second says how each file was measured. The files also hold what a claim sums up,
and the claims of a long file beyond its first ones.
"""
KEYS = ("rows", "command", "seed", "wall_s", "machine", "date", "commit")
MOST_LINES, MOST_CLAIMS = 250, 6  # of the page, of a file


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
    """RESULTS.md of measurements by name, in the order of their names.

    Raises:
        ValueError: it would have more than MOST_LINES lines.
    """
    claims = [line for name in sorted(results) for line in _claims(name, results[name])]
    files = [_origin(name, results[name]) for name in sorted(results)]
    lines = [
        HEAD,
        *_table(("what", "reached", "reference", "where"), claims),
        "\n## How each file was measured\n\nA commit that ends in `+` had changes not yet committed.\n",
        *_table(("file", "command", "seed", "time", "machine", "date", "commit"), files),
    ]
    text = "\n".join(lines) + "\n"
    count = text.count("\n")
    if count > MOST_LINES:
        raise ValueError(
            f"RESULTS.md would have {count} lines, at most {MOST_LINES}: write one row a claim, no details"
        )
    return text


def _claims(name: str, result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    title, rows = name.replace("_", " "), result["rows"]
    shown = MOST_CLAIMS if len(rows) > MOST_CLAIMS + 1 else len(rows)
    lines: list[tuple[str, ...]] = [
        (f"{title}: {row['what']}", row["figure"], row["reference"], f"`{name}.json: rows.{number}`")
        for number, row in enumerate(rows[:shown])
    ]
    if shown < len(rows):
        what, where = f"{title}: {len(rows) - shown} more", f"`{name}.json: rows.{shown}` to `rows.{len(rows) - 1}`"
        lines.append((what, "in the file", "", where))
    return lines


def _origin(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    hardware = result["machine"]
    machine = f"{hardware['processors']} x {hardware['processor']} ({(hardware['flags'] or ['no flags'])[0]})"
    seed = "none" if result["seed"] is None else str(result["seed"])
    command, commit = f"`{result['command']}`", result["commit"] or "unknown"
    return f"{name}.json", command, seed, _duration(result["wall_s"]), machine, result["date"], commit


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "RESULTS.md")
    options = parser.parse_args(arguments)
    try:
        results = {path.stem: read_result(path) for path in sorted(options.results.glob("*.json"))}
        text = render(results)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output}: {len(results)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(main())
