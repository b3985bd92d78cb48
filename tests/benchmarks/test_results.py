"""Promises of the record of a measurement and of RESULTS.md."""

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import record, results
from benchmarks.record import Row, write_result


def _write(folder: Path, name: str = "speed") -> Path:
    path = folder / f"{name}.json"
    rows = [Row(what="images/s | whole", figure="12.3", reference="4.1: 3.00 times"), Row(what="kills", figure="20")]
    write_result(path, rows, command="python -m benchmarks.x", seed=7, wall_s=200.0, details={"a": [1]})
    return path


def test_result_says_how_to_repeat_it(tmp_path: Path) -> None:
    result = json.loads(_write(tmp_path).read_text(encoding="utf-8"))
    assert result["command"] == "python -m benchmarks.x"
    assert (result["seed"], result["wall_s"], result["details"]) == (7, 200.0, {"a": [1]})
    assert result["machine"]["processors"] >= 1
    assert isinstance(result["machine"]["flags"], list)
    assert len(result["date"]) == 10


def test_command_names_no_folder_of_the_machine(tmp_path: Path) -> None:
    command = "python -m benchmarks.x --data /home/me/sets data.root=/home/me/sets/camvid --json benchmarks/a.json"
    result = write_result(tmp_path / "a.json", [], command=command, seed=0, wall_s=1.0)
    assert result["command"] == "python -m benchmarks.x --data sets data.root=camvid --json benchmarks/a.json"


def test_results_page_holds_every_row_and_its_origin(tmp_path: Path) -> None:
    _write(tmp_path, "speed")
    _write(tmp_path, "kill_resume")
    assert results.main(["--results", str(tmp_path), "-o", str(tmp_path / "RESULTS.md")]) == 0
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| speed: images/s \\| whole | 12.3 | 4.1: 3.00 times | `speed.json: rows.0` |" in page
    assert "| kill resume: kills | 20 |  | `kill_resume.json: rows.1` |" in page
    assert page.index("| kill resume: ") < page.index("| speed: ") < page.index("| kill_resume.json ")
    assert "| speed.json | `python -m benchmarks.x` | 7 | 3 min | " in page


def test_results_page_counts_the_claims_that_a_long_file_keeps(tmp_path: Path) -> None:
    rows = [Row(what=f"network {number}", figure="1") for number in range(20)]
    write_result(tmp_path / "a.json", rows, command="c", seed=0, wall_s=1.0)
    assert results.main(["--results", str(tmp_path), "-o", str(tmp_path / "RESULTS.md")]) == 0
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| a: network 5 | 1 |  | `a.json: rows.5` |" in page
    assert "| a: 14 more | in the file |  | `a.json: rows.6` to `rows.19` |" in page


def test_results_page_that_would_be_too_long_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(125):
        _write(tmp_path, f"set_{number}")
    assert results.main(["--results", str(tmp_path), "-o", str(tmp_path / "RESULTS.md")]) == 1
    assert "at most 250: write one row a claim" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


def test_results_page_of_the_project_is_what_the_command_writes(tmp_path: Path) -> None:
    assert results.main(["-o", str(tmp_path / "RESULTS.md")]) == 0
    page = (record.ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert page == (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert page.count("\n") <= 250


@pytest.mark.parametrize(("text", "reason"), [("{", "is not JSON"), ('{"rows": []}', "lacks command, seed")])
def test_result_that_cannot_be_read_is_named(
    tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    assert results.main(["--results", str(tmp_path), "-o", str(tmp_path / "RESULTS.md")]) == 1
    message = capsys.readouterr().err
    assert "bad.json" in message
    assert reason in message
    assert not (tmp_path / "RESULTS.md").exists()


def test_commit_of_a_changed_tree_ends_in_plus(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (tmp_path / "file").write_text("1", encoding="utf-8")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    clean = record.commit(tmp_path)
    (tmp_path / "file").write_text("2", encoding="utf-8")
    assert len(clean) == 10
    assert record.commit(tmp_path) == f"{clean}+"


def test_commit_outside_of_git_is_empty(tmp_path: Path) -> None:
    assert record.commit(tmp_path) == ""
