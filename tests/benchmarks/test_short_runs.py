"""Promises of the benchmark of short runs: a passing run is one whose validation loss is near its training loss."""

import pytest

from benchmarks.short_runs import CASES, Short, short_run, write_folders
from unpool.recipe import recipe_names, recipe_path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folders(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_first_epoch_of_eight_steps_of_a_residual_network_does_not_look_broken(root):
    """Its validation loss was 400 beside a training loss of 5, with running statistics of weights long left behind."""
    run = short_run("folder_resnet18", 1, root=root)
    assert 0 < run.training < 20
    assert not run.note
    assert run.passes


def test_run_passes_up_to_three_times_its_training_loss():
    assert Short("x", 1, 2.0, 6.0).passes
    assert not Short("x", 1, 2.0, 6.1).passes
    assert not Short("x", 1, 2.0, float("nan")).passes
    assert Short("x", 1, 2.0, 6.1, "statistics lag").passes


def test_every_recipe_of_folders_and_generated_data_is_among_them():
    texts = {name: recipe_path(name).read_text(encoding="utf-8") for name in recipe_names()}
    readers = {name: text.split("reader: ")[1].split()[0].rstrip(",}") for name, text in texts.items()}
    generated = {name for name, reader in readers.items() if reader in ("scenes", "figures")}
    assert generated | {name for name in readers if name.startswith("folder_")} <= set(CASES)
