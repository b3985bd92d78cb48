"""A run that fails before its first step leaves nothing; one that ends leaves what it needs to go on, and no more."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tiny_trees import write_tree
from unpool import run
from unpool.errors import DataError, Diverged, RecipeError
from unpool.run_directory import RunDirectory
from unpool.training.callbacks import Callback
from unpool.training.checkpoint import load, states

SMALL = {
    "data.count": 8,
    "data.workers": 0,
    "model.width": 4,
    "train.epochs": 1,
    "train.batch": 4,
    "train.warmup_epochs": 0,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
}
AS_TEXTS = [f"{key}={value}" for key, value in SMALL.items()]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def started(folder, *arguments, **options):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "unpool", "train", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)


def broken_set(folder):
    root = write_tree("folder", folder)
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"no picture")
    return root


@pytest.mark.slow
def test_process_with_broken_data_leaves_no_run_and_no_folder_of_runs(tmp_path):
    root = broken_set(tmp_path / "set")
    process = started(tmp_path / "here", "folder_resnet18", f"data.root={root}")
    assert process.wait(100) == DataError("").exit_code
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.usefixtures("heard_signals")
def test_process_that_is_interrupted_while_it_reads_leaves_no_run(tmp_path):
    root, here = tmp_path / "set", tmp_path / "here"
    rng = np.random.default_rng(0)
    for number in range(60):
        folder = root / ("ant", "bee")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        blocks = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        blocks.resize((1600, 1200)).save(folder / f"{number}.jpg")
    process = started(here, "folder_resnet18", f"data.root={root}", "data.workers=0")
    assert any(line.startswith("reading") for line in process.stderr)
    assert list(here.glob("runs/*/lock"))
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 130
    assert "resume" not in process.stderr.read()
    assert list(here.iterdir()) == []


@pytest.mark.slow
def test_process_on_a_full_disk_leaves_no_run(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = started(tmp_path / "here", "scenes_unet", *AS_TEXTS, preexec_fn=limit)
    assert process.wait(100) == 4
    assert "cannot save" in process.stderr.read()
    assert list((tmp_path / "here").iterdir()) == []


def test_failed_run_takes_away_the_folders_that_it_made_and_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = {"data.root": str(broken_set(tmp_path / "set"))}
    Path("mine").mkdir()
    Path("runs/of_another").mkdir(parents=True)
    for folder in (None, Path("a/b/c"), Path("mine")):
        with pytest.raises(DataError):
            run.train("folder_resnet18", root, run=folder)
    assert {path.name for path in tmp_path.iterdir()} - {"set", "cache"} == {"mine", "runs"}
    assert [path.name for path in Path("runs").iterdir()] == ["of_another"]
    assert not list(Path("mine").iterdir())


def test_interrupt_as_soon_as_the_folder_is_there_leaves_none(tmp_path):
    def interrupt(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train("scenes_unet", SMALL, run=tmp_path / "run", on_start=interrupt)
    assert not (tmp_path / "run").exists()


class Diverging(Callback):
    """Spoils the weights after so many steps."""

    def __init__(self, steps):
        self.steps = steps

    def start(self, job):
        self.spoil(job)

    def after_step(self, job, record):
        self.spoil(job)

    def spoil(self, job):
        if job.counters.step == self.steps:
            next(job.model.parameters()).data.fill_(torch.nan)


@pytest.mark.parametrize(("steps", "stays"), [(0, False), (1, True)])
def test_run_that_diverges_stays_if_it_took_a_step(tmp_path, steps, stays):
    says = "the last save is from before it" if stays else "nothing was learned before it"
    with pytest.raises(Diverged, match=says):
        run.train("scenes_unet", SMALL, run=tmp_path / "run", callbacks=[Diverging(steps)])
    assert (tmp_path / "run" / "last").exists() == stays == (tmp_path / "run").exists()


def test_what_a_user_laid_into_a_failing_run_stays(tmp_path):
    def lay(path):
        (path / "note.txt").write_text("mine")

    with pytest.raises(Diverged):
        run.train("scenes_unet", SMALL, run=tmp_path / "run", on_start=lay, callbacks=[Diverging(0)])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["note.txt"]


def test_run_that_another_process_holds_is_not_taken_away(tmp_path):
    (tmp_path / "run").mkdir()
    with RunDirectory(tmp_path / "run").held(), pytest.raises(RecipeError, match="in use"):
        run.train("scenes_unet", SMALL, run=tmp_path / "run")
    assert (tmp_path / "run" / "lock").exists()


def test_finished_run_keeps_one_state_from_which_more_epochs_go_on(tmp_path):
    run.train("scenes_unet", SMALL, run=tmp_path / "run")
    assert [path.name for path in states(tmp_path / "run" / "last")] == ["step-00000002"]
    run.resume(tmp_path / "run", {"train.epochs": 2})
    assert [path.name for path in states(tmp_path / "run" / "last")] == ["step-00000004"]
    assert load(tmp_path / "run" / "last")[1]["step"] == 4


def test_run_keeps_two_states_until_its_report_is_written(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("unpool.finishing.write_report", full)
        with pytest.raises(OSError, match="No space"):
            run.train("scenes_unet", SMALL, run=tmp_path / "run")
    assert [path.name for path in states(tmp_path / "run" / "last")] == ["step-00000002", "step-00000000"]
