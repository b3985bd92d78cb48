"""Promises of the drawn mistakes."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.mutants.drawing import Drawn, draw, groups, planted, read_equivalent, reason, restored
from benchmarks.mutants.listed import EQUIVALENT, computing_files
from benchmarks.mutants.mutators import edits
from benchmarks.mutants.notice import nearest

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
        ("y = a * b", "y = (a / b)"),
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
        ("y = a & b", "y = (a | b)"),
        ("y = a // b", "y = (-(-(a) // (b)))"),
        ("y = x.floor()", "y = (x.ceil())"),
        ("y = x.clamp(min=0)", "y = (x)"),
        ("y = np.clip(x, 0, 1)", "y = (x)"),
        ("y = 0.5", "y = 1.0"),
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
        "x = {'a': b} | c",
        "x = isinstance(a, int | None)",
        "x = 1e-6",
    ],
)
def test_edits_spare_texts_annotations_and_errors(source: str) -> None:
    assert edits(source) == []


def test_draw_is_a_function_of_its_seed_and_spreads_over_kinds_and_files(tmp_path: Path) -> None:
    names = ("data/decode.py", "ops/parsing.py", "ops/tiling.py", "tracing/graph.py", "training/averaging.py")
    for name in (f"src/unpool/{name}" for name in names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    first, again, other = (draw(tmp_path, count=33, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    kinds = Counter(one.edit.operator for one in first)
    assert len(kinds) == 11
    assert max(kinds.values()) - min(kinds.values()) <= 3  # few kinds go as far as that
    assert {one.file for one in draw(tmp_path, count=400, seed=1)} == set(computing_files(tmp_path))


def test_tests_nearest_to_a_file_are_its_test_file_and_its_folder(tmp_path: Path) -> None:
    for name in ("ops/test_boxes.py", "ops/test_a.py", "ops/deep/test_b.py", "test_recipe.py", "test_recipe_more.py"):
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / name).touch()
    folder = ("tests/ops/deep/test_b.py", "tests/ops/test_a.py")
    assert nearest(tmp_path, "src/unpool/ops/boxes.py") == ("tests/ops/test_boxes.py", *folder)
    assert nearest(tmp_path, "src/unpool/ops/far/other.py") == (*folder, "tests/ops/test_boxes.py")
    assert nearest(tmp_path, "src/unpool/recipe/reading.py") == ("tests/test_recipe.py", "tests/test_recipe_more.py")
    assert nearest(tmp_path, "src/unpool/types.py") == ()


SOURCE = "def f(a, b):\n    return (a + b) * (a - b)\n"


def drawn_from(root: Path, text: str = SOURCE) -> list[Drawn]:
    (root / "src/unpool").mkdir(parents=True, exist_ok=True)
    (root / "src/unpool/f.py").write_text(text, encoding="utf-8")
    return sorted(draw(root, count=99, seed=0), key=lambda one: (one.edit.start, one.edit.stop))


def test_mistakes_planted_at_once_never_edit_the_same_text(tmp_path: Path) -> None:
    drawn = drawn_from(tmp_path)
    first, second = groups(sorted(drawn, key=lambda one: one.edit.stop - one.edit.start))
    assert planted(tmp_path, first) == {"src/unpool/f.py": "def f(a, b):\n    return ((a - b)) * ((a + b))\n"}
    assert [one.edit.operator for one in second] == ["factor"]


def test_drawing_goes_on_where_its_lines_are_now_and_without_those_that_changed(tmp_path: Path) -> None:
    saved = [asdict(one) for one in drawn_from(tmp_path)]
    (tmp_path / "src/unpool/f.py").write_text(f"X = 1\n\n\n{SOURCE}", encoding="utf-8")
    assert [one.edit.line for one in restored(tmp_path, saved)] == [5, 5, 5]
    (tmp_path / "src/unpool/f.py").write_text(SOURCE.replace("* (a", "* 2 * (a"), encoding="utf-8")
    saved[0]["result"] = "killed"  # which is of another program
    assert [one.result for one in restored(tmp_path, saved)] == ["gone"] * 3


def test_equivalent_mistake_is_known_by_its_whole_line(tmp_path: Path) -> None:
    one = drawn_from(tmp_path)[0]
    row = {"file": one.file, "old": "return (a + b) * (a - b)", "new": one.new, "why": "it is only a toy"}
    assert reason(one, [row]) == "it is only a toy"
    assert reason(one, [row | {"old": "a + b"}]) == ""


def test_every_equivalent_mistake_is_a_line_of_its_file() -> None:
    for row in read_equivalent(ROOT / "benchmarks/mutants" / EQUIVALENT):
        assert row["old"] in " ".join((ROOT / row["file"]).read_text(encoding="utf-8").split()), row
        assert row["why"], row


TREE = {
    "src/unpool/__init__.py": "",
    "src/unpool/ops/sums.py": "def add(a, b):\n    return a + b\n",
    "src/unpool/ops/less.py": "def less(a, b):\n    return a < b\n\n\ndef more(a, b):\n    return a > b\n",
    "tests/ops/test_sums.py": "from unpool.ops.sums import add\n\n\ndef test_add():\n    assert add(2, 1) == 3\n",
    "tests/ops/test_less.py": "from unpool.ops.less import less\n\n\ndef test_less():\n    assert less(1, 2)\n",
    "tests/far/test_far.py": "from unpool.ops.less import more\n\n\ndef test_more():\n    assert not more(1, 1)\n"
    "\n\ndef test_red():\n    assert more(1, 1)\n",
    "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib --doctest-modules'\n",
}


@pytest.mark.slow
def test_drawn_run_tells_killed_from_survived_and_goes_on(tmp_path: Path) -> None:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    state = tmp_path / "drawn.json"
    command = [sys.executable, "-m", "benchmarks.mutants.drawn", "--root", str(tmp_path), "--count", "3"]
    command += ["--json", str(state), "--equivalent", str(tmp_path / "equivalent.yaml")]

    def output(*more: str) -> str:
        done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    near = output("--near-only")
    assert "src/unpool/ops/sums.py:2  sign: return a + b  ->  return (a - b)  test_add" in near
    assert "1 of 3 killed" in near
    assert "2 of 3 killed" in output()  # a distant test notices `>`, and one that is red anyway nothing
    row = "{file: src/unpool/ops/less.py, old: return a < b, new: return (a <= b), why: a toy}"
    (tmp_path / "equivalent.yaml").write_text(f"- {row}\n", encoding="utf-8")
    assert "2 of 2 killed; 1 equivalent and 0 gone" in output()
    (tmp_path / "equivalent.yaml").unlink()
    with (tmp_path / "tests/ops/test_less.py").open("a", encoding="utf-8") as file:
        file.write("    assert not less(1, 1)\n")
    assert "3 of 3 (when drawn 2) killed; 0 equivalent and 0 gone" in output("--again")
    assert json.loads(state.read_text(encoding="utf-8"))["rows"][0]["figure"] == "3 of 3 (when drawn 2)"
