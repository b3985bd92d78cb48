"""The verbs on a denoising run: the noise is part of the data, and the same wherever a run is measured."""

import json

import pytest
from PIL import Image

from tests.tiny_trees import write_tree
from unpool import run
from unpool.errors import RecipeError, Stopped
from unpool.recipe import load_recipe
from unpool.training.callbacks import Callback

SMALL = {
    "train.epochs": 2,
    "train.batch": 4,
    "train.precision": "float32",
    "train.memory_format": "contiguous",
    "train.threads": 1,
    "data.workers": 0,
    "data.repeat": 2,
    "data.train_size": [16, 16],
    "model.width": 4,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def small(tmp_path):
    return {**SMALL, "data.root": str(write_tree("images", tmp_path / "bsd"))}


class StopAfter(Callback):
    def __init__(self, steps):
        self.steps = steps

    def after_step(self, job, record):
        if record.step == self.steps:
            job.stop.number = 15


def test_denoising_run_is_measured_on_the_same_noise_as_it_was_validated_on(small, tmp_path):
    trained = run.train("bsd_dncnn_s", small, run=tmp_path / "run")
    assert trained["training"]["images_seen"] == 2 * 2 * 8
    assert trained["input_psnr"] == pytest.approx(20.172, abs=0.1)
    again = run.evaluate(tmp_path / "run")
    assert again["psnr"] == trained["psnr"]
    other = run.evaluate(tmp_path / "run", ["data.noise_seed=1"])
    assert other["psnr"] != trained["psnr"]
    louder = run.evaluate(tmp_path / "run", ["data.noise={gaussian: {level: 50}}"], split="test")
    assert louder["images"] == 1
    assert louder["input_psnr"] == pytest.approx(14.15, abs=0.5)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "PSNR, dB" in page
    assert "PSNR of the input, dB" in page


def test_a_run_of_another_seed_is_measured_on_the_same_noise(small, tmp_path):
    first, second = (
        run.train("bsd_dncnn_s", {**small, "train.seed": seed, "train.epochs": 1}, run=tmp_path / str(seed))
        for seed in (0, 1)
    )
    assert first["input_psnr"] == second["input_psnr"]
    assert first["psnr"] != second["psnr"]


def test_denoising_run_goes_on_bit_for_bit(small, tmp_path):
    whole = run.train("bsd_dncnn_s", small, run=tmp_path / "whole")
    with pytest.raises(Stopped):
        run.train("bsd_dncnn_s", small, run=tmp_path / "cut", callbacks=[StopAfter(3)])
    resumed = run.resume(tmp_path / "cut")
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    assert resumed["psnr"] == whole["psnr"]


def test_denoising_run_denoises_a_photograph(small, tmp_path):
    run.train("bsd_dncnn_s", {**small, "train.epochs": 1}, run=tmp_path / "run")
    Image.radial_gradient("L").resize((90, 61)).convert("RGB").save(tmp_path / "photo.jpg")
    (record,) = run.predict(tmp_path / "run", [tmp_path / "photo.jpg"], tmp_path / "out")
    with Image.open(tmp_path / "out" / record["clean"]) as clean:
        assert (clean.size, clean.mode) == ((90, 61), "L")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"]["num_classes"] == 1


def test_denoising_without_noise_or_pairs_is_refused_with_the_way_out(small, tmp_path):
    with pytest.raises(RecipeError, match=r"needs clean, but reader images gives image; .* or set data\.noise"):
        run.train("bsd_dncnn_s", {**small, "data.noise": None}, run=tmp_path / "run")
    pairs = {**small, "data.root": str(write_tree("image_pairs", tmp_path / "pairs")), "data.noise": {"none": {}}}
    with pytest.raises(RecipeError, match=r"reader image_pairs gives clean itself; leave data\.noise out"):
        run.train("pairs_unet", pairs, run=tmp_path / "run")


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ("{gaussian: {level: -1}}", "noise 'gaussian': level is -1"),
        ("{gausian: {level: 5}}", "no noise is called 'gausian'; did you mean 'gaussian'?"),
        ("gaussian", "noise 'gaussian' lacks 'level'"),
        ("{gaussian: {sigma: 5}}", "noise 'gaussian' has no key 'sigma'"),
        ("3", "data.noise is 3"),
        ("{gaussian: {level: 5}, masking: {share: 0.1}}", "data.noise is"),
    ],
)
def test_wrong_noise_is_refused_with_its_place(noise, words):
    with pytest.raises(RecipeError) as caught:
        load_recipe("bsd_dncnn_s", [f"data.noise={noise}"])
    assert words in str(caught.value)


def test_noise_may_be_written_short():
    assert load_recipe("mnist_linear_autoencoder", ["data.noise=none"]).data.noise == {"none": {}}
