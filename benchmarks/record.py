"""One JSON file a measurement, with what a reader needs to repeat it: command, seed, time, machine, date, commit."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of RESULTS.md.

    Attributes:
        what: the quantity, with its unit.
        figure: what was measured.
        reference: the published or required figure, or what the peer reached; empty where there is none.
    """

    what: str
    figure: str
    reference: str = ""


def machine() -> dict[str, Any]:
    """Processor model, its flags that decide speed, and the number of processors this process may use."""
    from unpool import machine as host  # imports torch, which a benchmark must be free to prepare for

    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": host.processor(), "flags": list(host.flags()), "processors": processors}


def commit(root: Path = ROOT) -> str:
    """Short hash of the tree measured, with `+` where tracked files differ from it; empty outside of git."""
    command = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write_result(
    path: Path,
    rows: Sequence[Row],
    *,
    command: str,
    seed: int | None,
    wall_s: float,
    details: Mapping[str, Any] | None = None,
    table: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """Writes one measurement in the form that `benchmarks.results` reads, and returns what was written.

    `table` stands below the rows where there is more to set side by side than they hold; its first line is its head.
    """
    result = {
        "rows": [asdict(row) for row in rows],
        "command": without_folders(command),
        "seed": seed,
        "wall_s": round(wall_s, 1),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "details": dict(details or {}),
        "table": [list(line) for line in table],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return result


def without_folders(command: str) -> str:
    """The command with each absolute path cut to its last part: where data lie is no one else's concern."""
    return re.sub(r"(?<=[\s=])/(?:[^\s/]+/)*([^\s/]+)", r"\1", command)
