"""Promises of the drawn mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.drawn import draw, stages
from benchmarks.mutants.mutators import edits

ROOT = Path(__file__).parents[2]


def _results(source: str) -> set[str]:
    return {edit.apply(source) for edit in edits(source)}


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("y = a < b", "y = (a <= b)"),
        ("y = a != b", "y = (a == b)"),
        ("y = (a - b) * c", "y = ((a + b)) * c"),
        ("y = -x", "y = (x)"),
        ("y = x[2]", "y = x[3]"),
        ("y = x[2]", "y = x[(1)]"),
        ("y = x.sum(dim=1)", "y = (x.sum(dim=0))"),
        ("y = x.sum(dim=-1)", "y = (x.sum(dim=0))"),
        ("y = not x", "y = bool(x)"),
        ("y = a and b", "y = (a or b)"),
        ("y = x is None", "y = (not (x is None))"),
        ("a.append(1)", "pass"),
        ("a.x = b", "pass"),
        ("a += b", "pass"),
        ("é = 'é' if a < b else 'ü'", "é = 'é' if (a <= b) else 'ü'"),
        ("if True:\n    y = (a\n      - b)", "if True:\n    y = ((a + b))"),
    ],
)
def test_edits_hold_each_kind_of_mistake(source: str, mistake: str) -> None:
    assert mistake in _results(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring."""',
        "raise ValueError(f'{a + 1} is too many')",
        "def f(x: list[int, 3]) -> tuple[int, 2]: ...",
        "x = f'{a - b}'",
        "x = True",
        "x = folder / 'name'",
        "x = 'a' + b",
    ],
)
def test_edits_spare_texts_annotations_and_errors(source: str) -> None:
    assert edits(source) == []


def test_draw_is_a_function_of_its_seed_and_spreads_over_operators() -> None:
    first, again, other = (draw(ROOT, count=14, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({one.edit.operator for one in first}) == 7
    assert all("/cli/" not in one.file for one in draw(ROOT, count=10_000, seed=1))


def test_stages_go_from_the_nearest_tests_to_all(tmp_path: Path) -> None:
    (tmp_path / "tests/ops").mkdir(parents=True)
    (tmp_path / "tests/ops/test_boxes.py").touch()
    assert stages(tmp_path, "src/unpool/ops/boxes.py") == [("tests/ops/test_boxes.py",), ("tests/ops",), ("tests",)]
    assert stages(tmp_path, "src/unpool/ops/other.py") == [("tests/ops",), ("tests",)]
    assert stages(tmp_path, "src/unpool/types.py") == [("tests",)]


@pytest.mark.slow
def test_drawn_run_tells_killed_from_survived(tmp_path: Path) -> None:
    files = {
        "src/unpool/__init__.py": "",
        "src/unpool/ops/sums.py": "def add(a, b):\n    return a + b\n",
        "src/unpool/ops/less.py": "def less(a, b):\n    return a < b\n",
        "tests/ops/test_sums.py": "from unpool.ops.sums import add\n\n\ndef test_add():\n    assert add(2, 1) == 3\n",
        "tests/ops/test_less.py": "from unpool.ops.less import less\n\n\ndef test_less():\n    assert less(1, 2)\n",
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks.mutants.drawn", "--root", str(tmp_path), "--count", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 2 killed" in done.stdout
    assert "src/unpool/ops/sums.py:2  sign: a + b  ->  (a - b)  test_add" in done.stdout
    assert "src/unpool/ops/less.py:2  comparison: a < b  ->  (a <= b)\n" in done.stdout
