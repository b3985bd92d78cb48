import errno
import json
import os

import pytest

from unpool import run_directory
from unpool.errors import EnvironmentFault, ModelFileError, RecipeError
from unpool.run_directory import RunDirectory


def test_runs_are_numbered_from_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [RunDirectory.create("toy", None).path.name for _ in range(3)]
    assert names == ["toy-1", "toy-2", "toy-3"]


def test_folder_with_files_is_no_place_for_a_run(tmp_path):
    for name in ("note.txt", "config.json"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(RecipeError, match="exists already"):
            RunDirectory.create("toy", tmp_path)
        (tmp_path / name).unlink()


def test_second_trainer_is_told_who_holds_the_run(tmp_path):
    second = RunDirectory(tmp_path)
    with RunDirectory(tmp_path).held(), pytest.raises(RecipeError, match=r"in use by pid \d+ on"), second.held():
        pass


def test_file_of_a_failed_write_is_the_old_one(tmp_path, monkeypatch):
    directory = RunDirectory(tmp_path)
    directory.write_json("data.json", {"a": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        directory.write_json("data.json", {"a": 2})
    assert json.loads((tmp_path / "data.json").read_text()) == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.json", "manifest.json"]


def test_damaged_json_is_named(tmp_path):
    RunDirectory(tmp_path).write({"metrics.json": b"{"})
    with pytest.raises(ModelFileError, match=r"metrics\.json is not readable as JSON"):
        RunDirectory(tmp_path).read_json("metrics.json")


@pytest.mark.parametrize(("epochs", "finished"), [(2, True), (3, False)])
def test_run_is_finished_when_its_last_evaluation_is_of_the_last_epoch(tmp_path, epochs, finished):
    directory = RunDirectory(tmp_path)
    directory.write_json("metrics.json", {"history": [{"epoch": 2}]})
    directory.write({"model.safetensors": b"weights"})
    assert not directory.is_finished(epochs)  # the report is still to be drawn
    directory.write_page("report.html", "<html>")
    assert directory.is_finished(epochs) is finished


def test_what_killed_writers_left_is_removed_by_the_next_that_holds_the_run(tmp_path):
    left = tmp_path / ".writing-1234-0-metrics.json"
    left.write_text("{")
    (tmp_path / "metrics.json").write_text("{}")
    directory = RunDirectory(tmp_path)
    with directory.held():
        assert not left.exists()
        left.write_text("of the one that holds it")
        with pytest.raises(RecipeError, match="in use"), directory.held():
            pass
        assert left.exists()
    assert (tmp_path / "metrics.json").exists()


def test_file_system_without_locks_is_warned_of_and_trained_on(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(run_directory.fcntl, "flock", refuse)
    (tmp_path / ".writing-1-model").touch()
    with RunDirectory(tmp_path).held():
        assert "no locks" in caplog.text
        assert (tmp_path / ".writing-1-model").exists()  # it may be another trainer's
