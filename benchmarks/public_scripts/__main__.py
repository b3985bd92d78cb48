"""Runs public training scripts with one inserted line, `unpool.check(...)`, healthy and with mistakes planted in them.

    python -m benchmarks.public_scripts --scripts FOLDER --runs DIR [--python PYTHON]

FOLDER holds `torchvision/train.py` with the files beside it that it imports, `timm/train.py`, and
`segmentation_models/binary_segmentation_buildings.py`, as their repositories have them; PYTHON has the packages that
they import. Nothing is trained and nothing loaded: each run is a process of its own in a folder of its own, on a small
set that is drawn there. A call goes on where the one before was stopped.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.mistakes.__main__ import judged
from benchmarks.public_scripts.scripts import REPORT, SCRIPTS, Change, Mistake, Script
from benchmarks.record import RESULTS, ROOT, Row, write_result

LIMIT_S = 400.0


class Ended(NamedTuple):
    """A run of a script, what check said of it, and what that is worth: see `benchmarks.mistakes`."""

    script: Script
    mistake: Mistake | None
    result: dict[str, Any]
    verdict: str

    @property
    def name(self) -> str:
        return "healthy" if self.mistake is None else self.mistake.name


def edited(text: str, change: Change) -> str:
    """The text with one exchange.

    Raises:
        ValueError: what is exchanged does not stand in it exactly once.
    """
    if text.count(change.old) != 1:
        raise ValueError(f"{change.old!r} stands {text.count(change.old)} times in the script, not once: another one?")
    return text.replace(change.old, change.new)


def with_line(text: str, script: Script) -> str:
    """The text with the inserted line before its place."""
    return edited(text, Change(f"\n{script.before}", f"\n{script.line}\n{script.before}"))


def prepare(script: Script, mistake: Mistake | None, *, scripts: Path, folder: Path) -> None:
    """Writes the script with its line and its mistake, and the set that it reads."""
    for file in (scripts / script.name).glob("*.py"):
        shutil.copy(file, folder)
    path = folder / script.file
    text = with_line(path.read_text(encoding="utf-8"), script)
    for change in () if mistake is None else mistake.changes:
        text = edited(text, change)
    path.write_text(text, encoding="utf-8")
    script.write(folder)
    if mistake is not None and mistake.spoil is not None:
        mistake.spoil(folder)


def said_by(report: dict[str, Any]) -> dict[str, Any]:
    """Causes of a report as JSON, in its order; what could not be measured; seconds."""
    from unpool.checks.findings import Finding
    from unpool.checks.reasons import ordered

    all_of_it = [
        (check["name"], Finding(**one, pictures=())) for check in report["checks"] for one in check["findings"]
    ]
    wrong = ordered([one for _, one in all_of_it])
    return {
        "causes": [one.cause for one in wrong if one.verdict == "fail"],
        "warnings": [one.cause for one in wrong if one.verdict == "warn"],
        "about": [one.about for one in wrong],
        "unmeasured": [f"{name}: {one.about}" for name, one in all_of_it if "could not be measured" in one.about],
        "measured": sum(one.verdict != "not applicable" for _, one in all_of_it),
        "seconds": round(report["seconds"], 1),
    }


def run(script: Script, mistake: Mistake | None, *, scripts: Path, python: str) -> dict[str, Any]:
    """Runs one script to its inserted line."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "script").mkdir()
        prepare(script, mistake, scripts=scripts, folder=folder / "script")
        known = {**os.environ, "MPLBACKEND": "Agg", "HF_HOME": str(folder / "weights"), "HF_HUB_OFFLINE": "1"}
        known["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
        if script.encoder:
            stand_in = [python, "-m", "benchmarks.public_scripts.stand_in", script.encoder, str(folder / "weights")]
            subprocess.run(stand_in, cwd=ROOT, env=known, check=True, capture_output=True)
        words = [python, script.file, *script.words]
        try:
            done = subprocess.run(
                words,
                cwd=folder / "script",
                env=known,
                timeout=LIMIT_S,
                check=False,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired:
            return _failed(f"no answer within {LIMIT_S:.0f} s")
        path = folder / "script" / REPORT
        if not path.is_file():
            return _failed(done.stderr)
        return said_by(json.loads(path.read_text(encoding="utf-8")))


def _failed(text: str) -> dict[str, Any]:
    last = (text.strip().splitlines() or ["no word"])[-1]
    return {"causes": [], "warnings": [], "about": [], "unmeasured": [], "measured": 0, "seconds": 0.0} | {
        "failure": last
    }


def summary(rows: Sequence[Ended]) -> list[Row]:
    """The lines of RESULTS.md."""
    mistakes = [row for row in rows if row.mistake is not None]
    healthy = [row for row in rows if row.mistake is None]
    first = sum(row.verdict in ("caught", "warned") for row in mistakes)
    by = ", ".join(f"{word} {sum(row.verdict == word for row in mistakes)}" for word in ("other cause", "missed"))
    alarms = sum(row.verdict != "right" for row in healthy)
    warnings = sum(len(row.result["warnings"]) for row in healthy)
    seconds = [row.result["seconds"] for row in rows]
    return [
        Row(what="mistakes in public scripts whose cause is named first", figure=f"{first} of {len(mistakes)}"),
        Row(what="other mistakes in public scripts", figure=by),
        Row(
            what="public scripts as they are that fail; warnings on them",
            figure=f"{alarms} of {len(healthy)}; {warnings}",
            reference="0",
        ),
        Row(what="seconds of a check of a public script, largest", figure=f"{max(seconds):.0f}", reference="240"),
    ]


def origins(scripts: Path) -> dict[str, dict[str, Any]]:
    """Where each script comes from, and whether the file that was run is that one."""
    lines = {}
    for script in SCRIPTS:
        digest = hashlib.sha256((scripts / script.name / script.file).read_bytes()).hexdigest()
        lines[script.name] = {
            "repository": script.repository,
            "revision": script.revision,
            "sha256": digest,
            "is_as_written_down": digest == script.sha256,
            "arguments": " ".join(script.words),
            "line": script.line.strip(),
            "before": script.before.strip(),
        }
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.public_scripts", description=__doc__)
    parser.add_argument("--scripts", type=Path, required=True, help="folder with the scripts")
    parser.add_argument("--runs", type=Path, required=True, help="where what was measured is kept")
    parser.add_argument("--python", default=sys.executable, help="that has the packages the scripts import")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="runs that have one of these texts")
    values = parser.parse_args(arguments)
    start = time.monotonic()
    rows = []
    for script in SCRIPTS:
        for mistake in (None, *script.mistakes):
            name = f"{script.name}-{'healthy' if mistake is None else mistake.name}"
            if values.only and not any(text in name for text in values.only):
                continue
            rows.append(_ended(script, mistake, values, values.runs / f"{name}.json"))
    for line in summary(rows):
        print(f"{line.what}: {line.figure}")
    if values.only:
        return  # a part of the runs is no result
    write_result(
        RESULTS / "public_scripts.json",
        summary(rows),
        command="python -m benchmarks.public_scripts --scripts FOLDER --runs DIR",
        seed=0,
        wall_s=time.monotonic() - start,
        details=origins(values.scripts),
        table=table(rows),
    )


def _ended(script: Script, mistake: Mistake | None, values: argparse.Namespace, path: Path) -> Ended:
    if path.is_file():
        result = json.loads(path.read_text(encoding="utf-8"))
    else:
        result = run(script, mistake, scripts=values.scripts.resolve(), python=values.python)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    cause, also = (None, ()) if mistake is None else (mistake.cause, mistake.also)
    row = Ended(script, mistake, result, judged(result, cause, also))
    named = [*result["causes"], *result["warnings"], result.get("failure", ""), "-"]
    print(
        f"{row.verdict:12}{script.name:20}{row.name:36}{cause or '-':26}{named[0]:26}{result['seconds']:6.1f} s",
        flush=True,
    )
    return row


def table(rows: Sequence[Ended]) -> list[list[str]]:
    """A line for each run, below its head."""
    lines = [["script", "planted", "cause", "named first", "verdict", "measured", "s"]]
    for row in rows:
        named = next(iter([*row.result["causes"], *row.result["warnings"]]), "-")
        cause = "healthy" if row.mistake is None else row.mistake.cause
        figures = [str(row.result["measured"]), f"{row.result['seconds']:.0f}"]
        lines.append([row.script.name, row.name, cause, named, row.verdict, *figures])
    return lines


if __name__ == "__main__":
    main()
