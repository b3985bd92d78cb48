"""Promises of the benchmark that kills trainers."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import kill_resume

TOY = Path(__file__).parent / "toy_trainer.py"


def _kill(tmp_path: Path, kind: str, kills: int) -> tuple[int, dict]:
    program = shlex.join([sys.executable, str(TOY), kind])
    out = tmp_path / "out.json"
    more = ["--program", program, "--kills", str(kills), "--work", str(tmp_path / "work"), "--json", str(out)]
    code = kill_resume.main(["toy", *more])
    return code, json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}


@pytest.mark.slow
def test_trainer_that_resumes_exactly_passes(tmp_path: Path) -> None:
    code, result = _kill(tmp_path, "exact", 8)
    details = result["details"]
    assert code == 0, result
    assert details["differ"] == []
    assert [kill["moment"] for kill in details["kills"]].count("checkpoint") >= 2
    assert result["rows"][0]["figure"] == "8 kills"


@pytest.mark.slow
def test_trainer_that_forgets_its_state_fails(tmp_path: Path) -> None:
    code, result = _kill(tmp_path, "forgets", 4)
    assert code == 1
    assert result["details"]["differ"] == ["last/state.safetensors", "log.jsonl", "model.safetensors"]
    assert result["rows"][0]["figure"] == "0 kills"


def test_trainer_that_fails_is_named_with_its_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = shlex.join([sys.executable, "-c", "raise SystemExit('no such recipe')"])
    code = kill_resume.main(["toy", "--program", program, "--work", str(tmp_path), "--json", str(tmp_path / "x.json")])
    assert code == 1
    assert "exited with 1, expected 0" in (message := capsys.readouterr().err)
    assert "no such recipe" in message


def test_plan_is_a_function_of_its_seed_and_has_every_moment() -> None:
    plans = [kill_resume.plan(20, seed=seed, startup_s=5.0, training_s=100.0) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    moments = [moment for moment, _ in plans[0]]
    assert {moment: moments.count(moment) for moment in moments} == {"checkpoint": 7, "training": 10, "start": 3}
    assert all(0 <= after_s <= 7.2 for _, after_s in plans[0])


def test_growth_is_seen_once_lines_come_not_when_the_file_is_made_or_cut(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    growth = kill_resume.Growth(log)
    seen = []
    for text in ("", "1\n2\n", "1\n", "1\n2\n"):
        log.write_text(text, encoding="utf-8")
        seen.append(growth.is_seen())
    assert seen == [False, True, False, True]
