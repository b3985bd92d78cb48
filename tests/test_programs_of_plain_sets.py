"""The shortest program for each task: a data set of one's own, twenty lines, no guard."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unpool
from tests.tasks.every_task import EVERY_TASK
from unpool.tasks import TASKS

FOLDER = Path(__file__).parents[1] / "examples" / "datasets"


def test_each_task_has_a_program_of_twenty_lines() -> None:
    lengths = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    assert set(lengths) == set(TASKS) == set(EVERY_TASK)
    assert max(lengths.values()) <= 20
    assert all(f'"{task}"' in unpool.train.__doc__ for task in TASKS)


@pytest.mark.slow  # the verbs that they call are tested each time
@pytest.mark.parametrize("task", sorted(set(EVERY_TASK) - {"classification"}))
def test_program_runs_as_it_stands(task: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runpy.run_path(str(FOLDER / f"{task}.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith(EVERY_TASK[task].printed)
    assert (tmp_path / "runs" / f"{task}-1" / "report.html").is_file()


def test_program_in_a_process_of_its_own_says_what_it_does(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(FOLDER / "classification.py")]
    ways: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, cwd=tmp_path, env=environment, **ways, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(EVERY_TASK["classification"].printed)
    for said in ("images are float32", "reading 96 images", "network  cifar_resnet20", "epoch 2/2"):
        assert said in done.stderr
