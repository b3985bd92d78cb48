"""The shortest program for each task: a data set of one's own, twenty lines, no guard."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unpool.tasks import TASKS

FOLDER = Path(__file__).parents[1] / "examples" / "datasets"
PRINTED = {
    "classification": "top-1 1.00, report in ",
    "denoising": "PSNR ",
    "people": "limbs joined: ",
    "pose": "pixels off: ",
    "pose_coordinates": "pixels off: ",
    "segmentation": "{'ground': 0.",
}


def test_each_task_has_a_program_of_twenty_lines() -> None:
    lengths = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    assert set(lengths) == set(TASKS) == set(PRINTED)
    assert max(lengths.values()) <= 20


@pytest.mark.parametrize("task", PRINTED)
def test_program_runs_as_it_stands(task: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, str(FOLDER / f"{task}.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(PRINTED[task])
    assert (tmp_path / "runs" / f"{task}-1" / "report.html").is_file()
