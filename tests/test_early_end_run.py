"""Runs that end by themselves, and that say so."""

import pytest
import torch
from safetensors.torch import load_file

from tests.test_assemble import camvid, job_of, recipe_of  # noqa: F401, a fixture
from tests.test_run import settings
from tests.training.toy_run import Loader, make_job
from unpool import run
from unpool.assemble.callbacks import Around, make_callbacks
from unpool.finishing import _training
from unpool.recipe import fit_to_length, load_recipe, load_run_recipe
from unpool.run_directory import RunDirectory
from unpool.training import processes
from unpool.training.evaluation import Evaluate


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_run_that_ended_early_says_so_wherever_its_figures_are_and_is_complete(camvid, tmp_path, caplog):  # noqa: F811
    values = settings(camvid, **{"train.ema": None, "train.stop_after": 1, "train.epochs": 30, "train.lr": 1e-12})
    values |= {"model.name": "unet_same"}  # without batch norm, whose statistics go on to learn
    metrics = run.train("camvid_unet", values, run=tmp_path / "run")
    last, facts = metrics["history"][-1], metrics["training"]
    assert last["epoch"] < 30
    assert last["mean_iou"] == metrics["mean_iou"]
    assert facts["ended_early"] is True
    assert facts["selection"].startswith(
        f"Chosen on the validation images: the run ended after epoch {last['epoch']} of 30, when mean_iou had not"
    )
    assert facts["selection"] in caplog.text
    assert facts["selection"] in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert run.resume(tmp_path / "run", {"train.epochs": 40})["already_complete"] is True
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_run_that_stalls_at_its_last_planned_epoch_has_not_ended_early():
    job, around = make_job(epochs=2), Around([], Evaluate(Loader()), None)
    job.counters.is_ended, job.counters.epoch = True, 2
    assert _training(job, around, time_s=0.0)["ended_early"] is False
    job.counters.epoch = 1
    assert _training(job, around, time_s=0.0)["ended_early"] is True


def test_last_weights_of_a_run_have_precise_statistics_and_are_measured_with_them(camvid, tmp_path, caplog):  # noqa: F811
    values = settings(camvid, **{"train.ema": None, "train.precise_norms": True, "train.epochs": 1})
    values |= {"train.batch": "auto"}
    metrics = run.train("camvid_unet", values, run=tmp_path / "run")
    assert run.evaluate(tmp_path / "run")["loss"] == metrics["loss"] == metrics["history"][-1]["loss"]
    assert "statistics of batch norm lag behind" not in caplog.text
    plain = run.train("camvid_unet", {**values, "train.precise_norms": False}, run=tmp_path / "plain")
    assert "statistics of batch norm lag behind" in caplog.text
    kept, running = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "plain"))
    differ = {key.rpartition(".")[2] for key in kept if not torch.equal(kept[key], running[key])}
    assert differ == {"running_mean", "running_var"}
    assert load_run_recipe(tmp_path / "run").train.batch == 4
    assert metrics["loss"] != plain["loss"]


@pytest.mark.parametrize("is_leader", [True, False])
def test_recipe_says_how_long_is_waited_and_what_then_happens(camvid, tmp_path, monkeypatch, is_leader):  # noqa: F811
    monkeypatch.setattr(processes, "is_leader", lambda: is_leader)
    plateau = {"train.schedule": "plateau", "train.patience": 4, "train.drops": 2, "train.gamma": 0.5}
    for values, expected in (({"train.stop_after": 3}, (3, 0, 0.1)), (plateau, (4, 2, 0.5)), ({}, None)):
        recipe = recipe_of(camvid, **values, **{"train.precise_norms": True})
        loader = job_of(recipe).loader
        around = make_callbacks(recipe, RunDirectory(tmp_path), loader, callbacks=(), calibrating=lambda epoch: [])
        patience = around.patience
        assert around.evaluation.is_precise
        if patience is None or expected is None:
            assert patience is expected
        else:
            assert (patience.patience, patience.drops, patience.gamma) == expected
            assert patience in around.callbacks
            assert patience.evaluation is around.evaluation


def test_average_of_few_epochs_is_told(camvid, caplog):  # noqa: F811
    fit_to_length(recipe_of(camvid, **{"train.ema": None, "train.swa": 0.75, "train.epochs": 4}))
    assert "train.swa averages the weights at the end of 2 of 4 epochs, which are few" in caplog.text
    caplog.clear()
    fit_to_length(recipe_of(camvid, **{"train.ema": None, "train.swa": 0.5, "train.epochs": 4}))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("momentum", 0.5, "train.momentum is 0.5 and train.optimizer is adamw, which does not read it"),
        ("gamma", 0.5, "train.gamma is 0.5 and train.schedule is cosine"),
        ("power", 2.0, "train.power is 2 and train.schedule is cosine"),
    ],
)
def test_key_of_training_that_nothing_reads_is_told_and_an_old_recipe_loads(camvid, caplog, key, value, said):  # noqa: F811
    recipe = recipe_of(camvid, **{f"train.{key}": value})
    fit_to_length(recipe)
    assert said in caplog.text
    caplog.clear()
    step = {"train.schedule": "step", "train.milestones": [2]}
    reading = {"momentum": {"train.optimizer": "caffe_sgd"}, "gamma": step, "power": {"train.schedule": "poly"}}
    fit_to_length(load_recipe(recipe, reading[key]))
    fit_to_length(recipe_of(camvid))
    assert caplog.text == ""


def test_epochs_behind_the_last_whole_cycle_are_told(camvid, caplog):  # noqa: F811
    swa = {"train.ema": None, "train.swa": 0.5, "train.swa_cycle": 4}
    fit_to_length(recipe_of(camvid, **swa, **{"train.epochs": 21}))  # 10, 14, 18
    said = "train.swa_cycle 4 takes weights in after epoch 18 for the last time, and what is learned in the 3 epochs "
    assert f"{said}behind it is lost: take one that divides the 11 epochs from epoch 10 on" in caplog.text
    caplog.clear()
    fit_to_length(recipe_of(camvid, **swa, **{"train.epochs": 16}))  # 8, 12, 16
    assert caplog.text == ""
