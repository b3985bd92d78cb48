import pytest
import torch

from tests.small_figures import SMALL
from unpool import run
from unpool.data.figures import Figures
from unpool.recipe import load_recipe
from unpool.report_pictures import _spread


def test_examples_are_spread_from_the_first_to_the_last():
    assert _spread(3, 8) == [0, 1, 2]
    assert _spread(100, 4) == [0, 33, 66, 99]


@pytest.mark.parametrize("name", ["figures_hourglass", "figures_openpose"])
def test_noise_as_an_augmentation_leaves_the_targets_to_be_drawn(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    overrides = SMALL | {"data.noise": {"gaussian": {"level": 25}}, "model.width": 4, "train.epochs": 1}
    run.train(name, overrides, run=tmp_path / "run")
    assert "loss" in (tmp_path / "run" / "report.html").read_text()


def test_picture_of_a_target_shows_the_file_without_the_noise_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen = []
    monkeypatch.setattr("unpool.conduct.write_report", lambda run, *, examples, **others: seen.append(examples[0]))
    overrides = SMALL | {"data.noise": {"gaussian": {"level": 25}}, "model.width": 4, "train.epochs": 1}
    run.train("figures_hourglass", overrides, run=tmp_path / "run")
    options = load_recipe(tmp_path / "run" / "recipe.yaml").data.options
    assert torch.equal(seen[0].image, Figures(None, "val", **options)[0]["image"])
