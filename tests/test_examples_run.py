"""Every script of examples/ runs, one as a user would start it, and says what it promises."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
QUICK = ["train.epochs=1", "train.precision=float32", "train.memory_format=contiguous"]
NARROW = ["model.width=8", "model.widths=[8,8,8,8,8]"]
SCRIPTS = {  # arguments, what is printed, files that are left
    "own_network": (QUICK, "level stripes are called ", ["runs/cifar10_resnet20-1/report.html"]),
    "segment_folder": (
        [*QUICK, *NARROW], "mean IoU 0.", ["scenes/classes.txt", "runs/folder_unet-1/predictions/0_mask.png"]
    ),
    "pose": (
        [*QUICK, "data.count=16", "model.depth=2"], "left_wrist",
        ["runs/figures_hourglass-1/predictions/figure_view.jpg"],
    ),
    "look_inside": ([], "a score sees 109 x 109 pixels", ["cifar_resnet20_dense.png"]),
    "convert_network": ([], "19 batch norms folded, 0 stay", []),
}  # fmt: skip


def test_each_script_is_short_and_run_here() -> None:
    lengths = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in FOLDER.glob("*.py")}
    assert sorted(lengths) == sorted(SCRIPTS)
    assert len(lengths) >= 5
    assert {name: length for name, length in lengths.items() if length > 60} == {}
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in lengths if f"`{name}.py`" not in readme] == []


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "own_network"])
def test_script_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    arguments, printed, files = SCRIPTS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert printed in capsys.readouterr().out
    assert [file for file in files if not (tmp_path / file).is_file()] == []


def test_script_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    name = "own_network"
    arguments, printed, files = SCRIPTS[name]
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout, done.stdout
    assert [file for file in files if not (tmp_path / file).is_file()] == []
