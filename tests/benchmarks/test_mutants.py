"""Promises of the harness that plants mistakes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.listed import Mutant, computes, computing_files, read_mutants, without_mutant
from benchmarks.mutants.run import Verdict, counts_of

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A module."""


def area(width: int | None, height: int) -> int:
    """Width times height."""
    return (width or 1) * height
'''

TESTS = """import time

import pytest

from unpool.shapes import area


def test_area():
    assert area(2, 3) == 6


@pytest.mark.slow
def test_area_of_nothing():
    assert area(None, 3) == 3


def test_nothing():
    assert callable(area)


def test_red():
    assert area(2, 3) == 7


def test_leap():
    while area(0, 1) != 1:
        time.sleep(0.01)
"""

EDITS = [
    ("1) * height", "1) + height", "test_area"),
    ("or 1)", "or 2)", "test_area_of_nothing"),
    ("1) * height", "1) / height", "test_nothing"),
    ("height", "h", "test_area"),
    ("or 1", "or 3", "test_red"),
    ("or 1", "or 3", "test_gone"),
    ("or 1", "or 4", "test_leap"),
]
ROWS = "".join(
    f"- {{file: src/unpool/shapes.py, old: '{old}', new: '{new}', test: 'tests/test_shapes.py::{test}', why: w}}\n"
    for old, new, test in EDITS
)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A tree of one module, its tests and its mutants, shaped like ours."""
    files = {
        "src/unpool/__init__.py": "",
        "src/unpool/shapes.py": SOURCE,
        "src/unpool/sides.py": "def twice(x):\n    return 2 * x\n",
        "tests/test_shapes.py": TESTS,
        "mutants/house.yaml": ROWS,
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = \"-m 'not slow'\"\nmarkers = ['slow: slow']\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _run(house: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.mutants.run",
        "--root",
        str(house),
        "--mutants",
        str(house / "mutants"),
    ]
    return subprocess.run(
        [*command, "--time-limit", "15", *more], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_run_tells_killed_survived_and_wrong_rows_apart(house: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    result = tmp_path_factory.mktemp("result") / "mutants.json"
    before = {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
    done = _run(house, "--json", str(result))
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout + done.stderr
    assert sum(line.startswith("killed") for line in lines) == 3, done.stdout
    assert sum(line.startswith("survived") for line in lines) == 1, done.stdout
    for reason in ("occurs 3 times", "test_red is red", "test_gone does not exist", "time limit"):
        assert reason in done.stdout, done.stdout
    assert "src/unpool/sides.py: computes, but no mistake is listed for it" in lines
    assert before == {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
    details = json.loads(result.read_text(encoding="utf-8"))["details"]
    assert details["counts"] == {"house": {"killed": 3, "survived": 1, "error": 3}}
    survived = [one["mutant"]["test"] for one in details["survivors"] if one["result"] == "survived"]
    assert survived == ["tests/test_shapes.py::test_nothing"]
    assert len(details["survivors"]) == 4
    assert details["uncovered"] == ["src/unpool/sides.py"]


@pytest.mark.slow
def test_run_is_content_where_all_were_killed(house: Path) -> None:
    done = _run(house, "--only", "test_area_of_nothing", "--json", str(house / "out.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1" in (house / "out.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file: x", "must hold a list"),
        ("- {file: x, old: y}", "house.yaml, row 1: has file, old; needs exactly"),
        ("- {file: x, old: 'y', new: 1, test: t, why: w}", "row 1: new is 1, must be a text"),
        ("- {file: [", "house.yaml is not YAML"),
    ],
)
def test_wrong_lists_name_file_and_row(house: Path, text: str, reason: str) -> None:
    (house / "mutants/house.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_mutants(house / "mutants")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("height", "h", "occurs 3 times"),
        ("absent", "h", "occurs 0 times"),
        ("or 1)", "or 1", "no Python"),
        ("or 1)", "or  1)", "changes nothing"),
    ],
)
def test_edit_that_plants_nothing_is_refused(house: Path, old: str, new: str, reason: str) -> None:
    rows = "- {file: a, old: 'old', new: 'new', test: t, why: w}".replace("old'", f"{old}'").replace("new'", f"{new}'")
    (house / "mutants/house.yaml").write_text(rows, encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        read_mutants(house / "mutants")[0].apply(SOURCE)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x):\n    return x + 1", True),
        ("def f(x):\n    return x < 1", True),
        ("def f(x):\n    x -= 1", True),
        ("class A:\n    def f(self):\n        return self.a * 2", True),
        ("X = 1 + 2", False),
        ("def f(x: int | None):\n    return x is None", False),
        ("def f(x):\n    return x / 'name'", False),
        ("def f(x):\n    return {'a': 1}[x]", False),
    ],
)
def test_computing_is_arithmetic_or_comparison_in_a_function(source: str, *, expected: bool) -> None:
    assert computes(source) is expected


def test_counts_are_by_area_and_result() -> None:
    results = [("ops", "killed"), ("ops", "survived"), ("ops", "killed"), ("data", "error")]
    rest = {"file": "f", "old": "a", "new": "b", "test": "t", "why": "w"}
    verdicts = [Verdict(Mutant(area=area, **rest), result, "", 1.0) for area, result in results]
    assert counts_of(verdicts) == {
        "ops": {"killed": 2, "survived": 1, "error": 0},
        "data": {"killed": 0, "survived": 0, "error": 1},
    }


def test_file_without_mutant_is_found(house: Path) -> None:
    files = computing_files(house)
    assert files == ["src/unpool/shapes.py", "src/unpool/sides.py"]
    assert without_mutant(files, read_mutants(house / "mutants")) == ["src/unpool/sides.py"]


def test_every_listed_mistake_is_one_line_of_its_file_and_names_a_test() -> None:
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    }
    wrong = []
    for mutant in read_mutants(ROOT / "benchmarks" / "mutants"):
        file, _, name = mutant.test.partition("::")
        function = name.rpartition("::")[2].partition("[")[0]
        if texts.get(mutant.file, "").count(mutant.old) != 1 or f"def {function}(" not in texts.get(file, ""):
            wrong.append((mutant.file, mutant.old, mutant.test))
    assert wrong == []
