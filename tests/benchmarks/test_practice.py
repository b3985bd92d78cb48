"""Promises of the benchmarks of training practice: what they ask can be had, what was not shown is not said."""

import io
import json
import math
import subprocess
import tarfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import defaults, few_images, isbi, rate_sweep, series
from unpool.errors import Diverged
from unpool.recipe import load_recipe

CHANGES = [(study, what) for study in defaults.STUDIES.values() for what in study.changes]


@pytest.mark.parametrize(("study", "what"), CHANGES, ids=[f"{study.data}, {what}" for study, what in CHANGES])
def test_change_is_one_that_the_recipe_takes_and_differs_from_it(study, what):
    given = ["data.root=data", *study.length]
    assert load_recipe(study.recipe, [*given, *study.changes[what]]) != load_recipe(study.recipe, given)


def test_change_at_test_is_of_views_that_there_are():
    from unpool.ops.views import VIEWS

    for study in defaults.STUDIES.values():
        assert all(option == "--tta" and view in VIEWS for option, view in study.tests.values())


@pytest.mark.parametrize("begun", few_images.STARTS)
def test_start_is_a_recipe_of_which_the_first_stages_can_be_frozen(begun):
    start = few_images.STARTS[begun]
    recipe = load_recipe(start.recipe, ["data.root=data", *start.overrides("last stages")])
    assert recipe.model.frozen == start.first_stages
    assert not start.overrides("all")
    assert (recipe.train.backbone_lr == 0.1) == bool(start.first_stages)


def test_effect_below_the_spread_of_the_seeds_is_not_shown():
    scores = {defaults.SHIPPED: [0.80, 0.82], "small": [0.81, 0.83], "large": [0.70, 0.72], "broken": [0.7, math.nan]}
    small, large, broken = defaults.effects(scores, {})
    assert small.spread == pytest.approx(2 * 0.01 * math.sqrt(2), abs=1e-9)
    assert (small.is_shown, small.words) == (False, "not shown")
    assert (large.is_shown, large.words) == (True, "-10.00")
    assert (broken.is_shown, broken.words) == (False, "diverged")
    (alone,) = defaults.effects({defaults.SHIPPED: [0.8], "x": [0.9]}, {})
    assert not alone.is_shown


def test_effect_at_test_is_of_the_same_weights():
    (gain,) = defaults.effects({defaults.SHIPPED: [0.6, 0.9, 0.7]}, {"flips": [0.61, 0.912, 0.711]})
    assert gain.effect == pytest.approx(0.011)
    assert gain.is_shown


def test_rows_put_each_change_where_its_effect_lies():
    study = defaults.STUDIES["camvid"]
    scores = {defaults.SHIPPED: [0.4, 0.41], "a": [0.2, 0.21], "b": [0.6, 0.61], "c": [0.4, 0.4], "d": [math.nan] * 2}
    found = defaults.rows(study, scores[defaults.SHIPPED], defaults.effects(scores, {}))
    assert [row.figure for row in found[1:]] == ["a -20.00", "b +20.00", "c, d diverged"]
    assert found[0].figure == "40.50 ± 0.71 %"


def test_runs_of_other_settings_lie_elsewhere_and_those_of_other_folders_do_not():
    of = {lr: series.digest("cifar10_resnet20", [f"train.lr={lr}"]) for lr in (0.1, 0.2)}
    assert of[0.1] != of[0.2]
    assert series.digest("cifar10_resnet20", ["train.lr=0.1", "data.root=elsewhere"]) == of[0.1]
    weights = [f"model.weights={folder}/run/model.safetensors" for folder in ("a", "b")]
    assert len({series.digest("hymenoptera_cifar_resnet20", [one]) for one in weights}) == 1


@pytest.mark.parametrize("code", [Diverged.exit_code, 1])
def test_run_that_diverges_has_no_score_and_any_other_end_is_an_error(code, tmp_path, monkeypatch):
    def train(recipe, overrides, run, *, is_checked):
        assert not is_checked  # series measure what is wrong too
        raise subprocess.CalledProcessError(code, "unpool")

    monkeypatch.setattr(series, "train", train)
    if code == Diverged.exit_code:
        assert math.isnan(series.trained("scenes_unet", [], root=None, runs=tmp_path).score("top1"))
    else:
        with pytest.raises(subprocess.CalledProcessError):
            series.trained("scenes_unet", [], root=None, runs=tmp_path)


def test_fewer_images_are_the_first_of_each_class(tmp_path):
    (tmp_path / "all").mkdir()
    for name in ("test.tar.gz", "batches.meta.txt"):
        (tmp_path / "all" / name).write_bytes(b"x")
    with tarfile.open(tmp_path / "all" / "train.tar.gz", "w:gz") as archive:
        for name in ("train/b/2.jpg", "train/a/1.jpg", "train/b/1.jpg", "train/a/3.jpg", "train/a/2.jpg"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    folder = series.fewer_of_cifar(tmp_path / "all", tmp_path / "few", 4)
    with tarfile.open(folder / "train.tar.gz") as archive:
        assert archive.getnames() == ["train/a/1.jpg", "train/a/2.jpg", "train/b/1.jpg", "train/b/2.jpg"]


def _pictures(root, counts):
    for split, count in counts.items():
        for name in ("ants", "bees"):
            for number in range(count):
                path = root / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (number, 0, 0)).save(path)


def test_draws_hold_as_many_of_each_class_and_are_the_same_for_all_networks(tmp_path):
    _pictures(tmp_path / "set", {"train": 7, "val": 2})
    images = few_images.Drawn.of(tmp_path / "set")
    assert images.amounts() == [1, 2, 6, None]
    _pictures(tmp_path / "six", {"train": 6, "val": 2})
    assert few_images.Drawn.of(tmp_path / "six").amounts() == [1, 2, None]
    assert images.names(2, 0) == images.names(2, 0) != images.names(2, 1)
    folder = images.folder(2, 1, tmp_path / "drawn")
    assert sorted(path.name for path in (folder / "train" / "ants").iterdir()) == sorted(
        name.rpartition("/")[2] for name in images.names(2, 1) if "ants" in name
    )
    assert len(list((folder / "val").rglob("*.png"))) == 4
    assert images.folder(None, 0, tmp_path / "none") == tmp_path / "set"


def test_proposal_holds_within_the_spread_only():
    found = {"scores_of_best": [0.50, 0.52], "scores_of_proposal": [0.49, 0.51], "spread": 0.02}
    assert rate_sweep.holds(found)
    assert not rate_sweep.holds({**found, "spread": 0.005})
    assert not rate_sweep.holds({**found, "scores_of_proposal": [0.49, math.nan]})
    assert not rate_sweep.holds({**found, "scores_of_proposal": []})
    assert rate_sweep.holds({**found, "scores_of_proposal": [0.6, 0.6], "spread": math.nan})


@pytest.mark.parametrize("recipe", rate_sweep.RECIPES)
def test_sweep_is_a_tenth_of_the_recipe(recipe):
    whole = load_recipe(recipe, ["data.root=data"]).train
    short = load_recipe(recipe, ["data.root=data", *rate_sweep.tenth(recipe)]).train
    assert short.epochs == max(1, round(whole.epochs / 10))
    assert short.warmup_epochs == pytest.approx(whole.warmup_epochs / 10)


def test_proposal_is_asked_for_once(tmp_path, monkeypatch):
    asked = []

    class Report:
        def to_json(self):
            asked.append(1)
            return {"proposal": 0.1}

    monkeypatch.setattr(rate_sweep, "find_lr", lambda *given, **options: Report())
    for _ in range(2):
        assert rate_sweep.proposal("scenes_unet", [], root=tmp_path, runs=tmp_path, steps=30) == {"proposal": 0.1}
    assert len(asked) == 1


def test_rand_score_falls_where_cells_are_joined_or_split_and_not_by_membranes_of_another_width():
    truth = np.ones((8, 21), bool)
    truth[:, 10] = False
    assert isbi.rand_score(truth, truth) == 1
    wide = truth.copy()
    wide[:, 8:13] = False
    assert isbi.rand_score(wide, truth) == 1
    joined = np.ones((8, 21), bool)
    assert isbi.rand_score(joined, truth) == pytest.approx(2 / 3)
    split = truth.copy()
    split[3] = False
    assert 0.5 < isbi.rand_score(split, truth) < 0.9
    assert isbi.rand_score(np.zeros((8, 21), bool), truth) == pytest.approx(2 / 3)


def test_part_of_a_measurement_is_not_written_where_the_whole_is(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(defaults, "evaluate", lambda run, *arguments: {"mean_iou": 0.42})
    metrics = {"mean_iou": 0.4, "training": {"time_s": 3.0}}
    monkeypatch.setattr(defaults, "trained", lambda *given, **options: series.Ended(tmp_path, metrics))
    given = ["--data", str(tmp_path), "--runs", str(tmp_path / "runs"), "--only", "camvid: no flips", "camvid: flips"]
    assert defaults.main(given) == 0
    result = json.loads((tmp_path / "runs" / "defaults.json").read_text())
    assert result["details"]["camvid"] == {"as shipped": [0.4] * 2, "no flips": [0.4] * 2, "flips at test": [0.42] * 2}
    assert result["wall_s"] == 12.0
    assert not (tmp_path / "results").exists()
