"""`evaluate` and `predict` with views and several runs: the verbs say and write what they averaged."""

import json

import pytest
import torch
from PIL import Image

import unpool
from unpool.cli.verbs import run_verb
from unpool.errors import RecipeError
from unpool.measuring import measured_on, warn_of_seen
from unpool.model_file import read_config
from unpool.run_directory import RunDirectory

SMALL = {
    **{"data.count": 8, "data.workers": 0, "model.width": 4, "train.epochs": 1, "train.batch": 4},
    **{"train.precision": "float32", "train.memory_format": "contiguous"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [
        unpool.train("scenes_unet", {**SMALL, "train.seed": seed}, run=folder / f"run{seed}")["run"] for seed in (1, 2)
    ]


def test_a_run_averaged_with_itself_has_its_metrics(runs):
    one, twice = unpool.evaluate(runs[0]), unpool.evaluate([runs[0], runs[0]])
    assert twice["mean_iou"] == pytest.approx(one["mean_iou"])
    assert twice["images"] == one["images"]
    assert "loss" not in twice
    assert "averaged" not in one
    assert unpool.evaluate(runs)["mean_iou"] != one["mean_iou"]


def test_run_says_whether_its_training_kept_the_classes_of_mirrored_images(runs):
    assert unpool.load(runs[0]).keeps_sides  # scenes_unet has flip


def test_command_prints_what_it_averaged(runs, capsys):
    assert run_verb(["evaluate", *runs, "data.count=4", "--tta", "flip,rotations", "--json"], from_shell=False) == 0
    captured = capsys.readouterr()
    averaged = json.loads(captured.out)["averaged"]
    assert averaged["views"] == ["flip", "rotations"]
    assert averaged["answers"] == 2 * 8
    assert len(averaged["networks"]) == 2
    assert "averaged over 16 answers an image" in captured.err


def test_predictions_say_what_was_averaged(runs, tmp_path, capsys):
    photo, out = tmp_path / "street.png", tmp_path / "out"
    Image.new("RGB", (48, 32), (9, 200, 30)).save(photo)
    assert run_verb(["predict", *runs, str(photo), "-o", str(out), "--tta", "flip"], from_shell=False) == 0
    listed = json.loads((out / "predictions.json").read_text())
    assert listed["averaged"]["views"] == ["flip"]
    assert listed["averaged"]["answers"] == 4
    mask = Image.open(out / "street_mask.png")
    assert mask.size == (48, 32)


def test_runs_without_an_image_behind_them_are_refused(runs):
    with pytest.raises(RecipeError, match="is a run and no image follows it"):
        run_verb(["predict", *runs], from_shell=False)


def test_a_network_of_ones_own_is_that_of_one_run(runs, tmp_path):
    with pytest.raises(RecipeError, match="model is the network of one run, and several are named"):
        unpool.predict(runs, [tmp_path], model=torch.nn.Identity())


def test_noise_is_not_averaged_over(runs):
    with pytest.raises(RecipeError, match=r"data\.noise is of one size"):
        unpool.evaluate(runs[0], {"data.noise": {"gaussian": {"level": 9}}}, tta=["flip"])


def test_images_that_a_further_run_was_trained_on_are_told(runs, caplog):
    directories = [RunDirectory.open(run) for run in runs]
    known = read_config(directories[0] / "config.json").info
    for split, count in (("val", 0), ("train", 8)):
        settings, reader = measured_on(directories[0], (), split, reader=None, known=known)
        warn_of_seen(directories[1], reader, settings)
        assert len(caplog.records) == bool(count)
    assert "was trained on 8 of the 8 images that are measured, such as" in caplog.text
