"""Checks one case in this process and prints what was found as JSON: `python -m benchmarks.mistakes.one HALF NAME`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import unpool
from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.halves import cases_of


def checked(case: Case, data: Path | None, minutes: float) -> dict[str, Any]:
    """What `unpool.check` says of a case.

    Returns:
        `cause` that is named first ("" of none), `causes` of all failures, `warnings`, `seconds`, and `failure`, what
        was raised in place of a report.
    """
    with tempfile.TemporaryDirectory() as scratch:
        made = case.make(Folders(Path(scratch), data))
        start = time.perf_counter()
        if isinstance(made, OfRecipe):
            report = unpool.check(made.recipe, dict(made.overrides), minutes=minutes)
        else:
            known = {name: value for name, value in made.arguments.items() if name != "task"}
            report = unpool.check(**known, minutes=minutes)
        seconds = time.perf_counter() - start
    wrong = report.wrong
    return {
        "cause": report.cause,
        "causes": [one.cause for one in wrong if one.verdict == "fail"],
        "warnings": [one.cause for one in wrong if one.verdict == "warn"],
        "about": [one.about for one in wrong][:6],
        "unmeasured": [
            f"{result.check.name}: {one.about}"
            for result in report.results
            for one in result.findings
            if one.about.startswith("could not be measured")
        ],
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half")
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    parser.add_argument("--minutes", type=float, default=2.0)
    values = parser.parse_args(arguments)
    case = next(one for one in cases_of(values.half) if one.name == values.name)
    json.dump(checked(case, values.data, values.minutes), sys.stdout)


if __name__ == "__main__":
    main()
