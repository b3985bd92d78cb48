"""Runs every tool on cases, each in a process of its own, and prints one JSON line a case and tool.

`python -m benchmarks.mistakes.other_tools.each HALF NAME... --data DIR`, in an environment that has the tools.
"""

import argparse
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.mistakes.case import Case, Folders, OfRecipe
from benchmarks.mistakes.halves import cases_of
from benchmarks.mistakes.other_tools import VERSIONS
from benchmarks.mistakes.other_tools.objects import Run
from benchmarks.mistakes.other_tools.tools import ON_RUN, ON_TEXT

LIMIT_S = 20  # processor seconds of a tool
WALL_S = 600.0  # of a case and a tool, however busy the machine is


def answer(tool: str, case: Case, folders: Folders) -> dict[str, Any]:
    """What a tool says of a case made anew, and the processor seconds that it took; or that it is a recipe."""
    made = case.make(folders) if tool in ON_RUN else None
    if isinstance(made, OfRecipe):
        return {"by_recipe": True}
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(start) + 1 + LIMIT_S, resource.RLIM_INFINITY))
    findings = ON_TEXT[tool](case) if made is None else ON_RUN[tool](Run(made))
    return {"findings": findings, "seconds": round(time.process_time() - start, 1), "error": ""}


def _write_answer(tool: str, case: Case, folders: Folders, folder: Path) -> None:
    errors = os.open(folder / "errors", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):  # tools print
        os.dup2(errors, stream)
    (folder / "answer").write_text(json.dumps(answer(tool, case, folders)), encoding="utf-8")


def measured(tool: str, case: Case, data: Path | None) -> dict[str, Any]:
    """The answer of a tool, or the error it ended with."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        arguments = (tool, case, Folders(scratch, data), Path(folder))
        process = multiprocessing.get_context("fork").Process(target=_write_answer, args=arguments)
        process.start()
        process.join(WALL_S)
        if process.is_alive():
            process.kill()
            process.join()
        path = Path(folder) / "answer"
        if process.exitcode == 0 and path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        lines = (Path(folder) / "errors").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"findings": [], "seconds": 0.0, "error": _end_of(process.exitcode or 0, lines)}


def _end_of(code: int, lines: Sequence[str]) -> str:
    """Why a process gave no answer."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"more than {LIMIT_S} s"
    return f"ended by signal {-code}" if code < 0 else (lines or ["no word"])[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half")
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, help="folder of the public sets")
    values = parser.parse_args(arguments)
    installed = {tool: version(tool) for tool in VERSIONS}
    if installed != VERSIONS:
        parser.error(f"these versions are installed: {installed}; install {VERSIONS}")
    torch.set_num_threads(1)
    cases = {case.name: case for case in cases_of(values.half)}
    for name in values.names:
        said: dict[str, Any] = {}
        for tool in VERSIONS:
            said[tool] = measured(tool, cases[name], values.data)
            if "by_recipe" in said[tool]:
                break
        print(json.dumps({"name": name, "said": said}), flush=True)


if __name__ == "__main__":
    main()
