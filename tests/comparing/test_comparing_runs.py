"""Runs side by side: measured as `evaluate` does, refused where they cannot be compared."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unpool
from unpool.cli.main import main
from unpool.comparing import runs as comparing
from unpool.comparing.page import verdict
from unpool.comparing.scores import MOST_GROUPS, _scores
from unpool.errors import RecipeError
from unpool.ops.paired_differences import Difference
from unpool.task import Description
from unpool.tasks import TASKS
from unpool.types import DataInfo

SMALL = {"data.count": 10, "data.workers": 0, "model.width": 4, "train.epochs": 1, "train.batch": 4}
SMALL |= {"train.precision": "float32", "train.memory_format": "contiguous"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, changes in {
        "first": {},
        "second": {"train.seed": 5, "train.lr": 0.02},
        "fewer": {"data.count": 8},
    }.items():
        unpool.train("scenes_unet", {**SMALL, **changes}, run=root / name)
    shutil.copytree(root / "first", root / "copy")
    return root


@pytest.fixture(scope="module")
def view(runs):
    return unpool.compare(runs / "first", runs / "copy", runs / "second", replicates=50)


def test_scores_are_those_of_evaluate(view, runs):
    for run in view.values["runs"]:
        assert run["score"] == pytest.approx(unpool.evaluate(runs / run["name"])[view.values["metric"]], abs=1e-6)


def test_copy_of_a_run_is_not_shown_to_differ(view):
    copy, second = view.values["differences"]
    assert (copy["value"], copy["low"], copy["high"], copy["verdict"]) == (0, 0, 0, "not shown")
    assert second["value"] == pytest.approx(view.values["runs"][2]["score"] - view.values["runs"][0]["score"])
    assert second["low"] <= second["value"] <= second["high"]
    assert (
        second["verdict"] == {True: "better", False: "worse"}[second["value"] > 0] or second["low"] < 0 < second["high"]
    )


def test_better_is_higher_or_lower_as_the_metric_says():
    rise, chance = Difference(0.2, 0.1, 0.3, 100, 0), Difference(0.2, -0.1, 0.5, 100, 0)
    higher, lower = Description("share"), Description("error", higher_is_better=False)
    assert [verdict(one, by) for one in (rise, chance, None) for by in (higher, lower)] == [
        *("better", "worse", "not shown", "not shown", "no score", "no score")
    ]


def test_settings_that_differ_are_listed_and_no_others(view):
    settings = view.values["settings"]
    assert settings["train.lr"]["second"] == "0.02"
    assert settings["train.seed"] == {"first": "0", "copy": "0", "second": "5"}
    assert "train.epochs" not in settings


def test_page_has_curves_of_all_runs_pictures_and_the_interval(view):
    page = view.to_page()
    assert page.count("<svg") >= 3
    assert "Images: first and second" in page
    assert "prediction, second" in page
    assert "Every image has the same score." in page
    assert "Paired bootstrap: images are drawn with replacement 50 times (seed 0)" in page


def test_other_validation_sets_are_refused_and_another_set_for_both_is_not(runs):
    with pytest.raises(RecipeError, match="have other validation sets: 2 images are of the first alone and 0 of the"):
        unpool.compare(runs / "first", runs / "fewer")


def test_changed_files_of_the_validation_set_are_found():
    first = {"files": {"a.png": [1, 0, "x"], "b.png": [1, 0, "y"], "c.png": [1, 0, None]}}
    second = {"files": {"a.png": [1, 5, "x"], "b.png": [1, 0, "z"], "c.png": [1, 0, "u"]}}
    assert comparing._other_content(first, second) == ["b.png"]
    assert comparing._other_content(first, {"files": None}) == []


def test_runs_of_other_tasks_are_refused_by_name(runs, monkeypatch):
    tasks = {"first": "segmentation", "second": "pose"}
    fake = lambda path, *_: SimpleNamespace(task=SimpleNamespace(name=tasks[path.name]))  # noqa: E731
    monkeypatch.setattr(comparing, "load_run_recipe", fake)
    with pytest.raises(RecipeError, match=r"first was trained for segmentation and .*second for pose: compare runs of"):
        unpool.compare(runs / "first", runs / "second")


def test_run_of_a_network_of_the_callers_is_refused(tmp_path):
    images = [(torch.full((3, 8, 8), 0.2 + 0.1 * i), i % 2) for i in range(6)]
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    model = torch.nn.Sequential(net, torch.nn.Linear(4, 2))
    run = unpool.train(
        task="classification", model=model, train=images, val=images[:4], classes=["a", "b"], epochs=1,
        run=tmp_path / "own", overrides={"data.allow_duplicates": True},
    )["run"]  # fmt: skip
    with pytest.raises(RecipeError, match="was trained with model and train and val of your own"):
        unpool.compare(run, run)


def test_one_alone_networks_with_runs_and_unknown_metrics_are_refused(runs):
    with pytest.raises(RecipeError, match="one alone cannot be compared"):
        unpool.compare(runs / "first")
    with pytest.raises(RecipeError, match=r"'resnet18' is a network and .*first a run"):
        unpool.compare(runs / "first", "resnet18")
    with pytest.raises(RecipeError, match="there is no metric 'mean_iuo' of one number; did you mean 'mean_iou'"):
        unpool.compare(runs / "first", runs / "copy", metric="mean_iuo")


def test_command_prints_difference_and_settings_and_writes_a_page(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    words = ["compare", str(runs / "first"), str(runs / "second"), "--replicates", "20", "-o", str(page)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "second minus first: " in printed
    assert "20 draws, seed 0" in printed
    assert "train.lr: first 0.01, second 0.02" in printed or "train.lr: " in printed
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert main([*words[:-2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 10
    assert main(words) == 2  # the page exists already


def metrics_of(labels, predictions):
    task = TASKS["segmentation"](DataInfo(classes=("a", "b", "c")))
    counted = []
    for label, prediction in zip(labels, predictions, strict=True):
        counted.append(task.metric())
        counted[-1].update({"mask": prediction[None]}, {"mask": label[None]})
    return task, counted


def test_score_that_is_no_mean_of_images_is_computed_from_the_counts_of_the_drawn_ones():
    torch.manual_seed(0)
    labels, predictions = torch.randint(0, 3, (2, 9, 4, 4))
    task, counted = metrics_of(labels, predictions)
    scores = _scores(task, counted, "mean_iou")
    drawn = np.array([4, 4, 1, 8, 0, 0, 0, 2, 7])
    again = task.metric()
    again.update({"mask": predictions[drawn]}, {"mask": labels[drawn]})
    assert not scores.is_mean
    assert scores.of_units(drawn) == pytest.approx(again.compute()["mean_iou"])
    assert scores.whole != pytest.approx(scores.values.mean())


def test_score_that_is_a_mean_of_images_is_taken_as_one():
    torch.manual_seed(0)
    labels, predictions = torch.randint(0, 3, (2, 9, 4, 4))
    scores = _scores(*metrics_of(labels, predictions), "pixel_accuracy")
    assert scores.is_mean
    assert scores.of_units(np.array([3, 3, 5])) == pytest.approx(scores.values[[3, 3, 5]].mean())


def test_many_images_are_drawn_in_groups_that_hold_each_once():
    torch.manual_seed(0)
    labels, predictions = torch.randint(0, 3, (2, MOST_GROUPS + 30, 2, 2))
    scores = _scores(*metrics_of(labels, predictions), "mean_iou")
    assert scores.units == MOST_GROUPS
    assert scores.of_units(np.arange(MOST_GROUPS)) == pytest.approx(scores.whole)
