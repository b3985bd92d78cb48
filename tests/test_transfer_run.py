"""Runs with frozen parts, rates by stage, and classifiers on fixed features."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import unpool
from unpool import probing
from unpool.errors import RecipeError
from unpool.layers.dropout import DropConnectLinear
from unpool.tasks.classification import Classification
from unpool.training.callbacks import Callback
from unpool.types import DataInfo

TRANSFER = {
    **{"model.frozen": ["backbone.stem"], "train.backbone_lr": 0.1, "train.layer_decay": 0.5, "train.ema": 0.9},
    **{"train.batch": 4, "data.workers": 0, "train.precision": "float32", "train.memory_format": "contiguous"},
    **{"model.width": 4, "train.schedule": "constant", "train.warmup_epochs": 0},
}


def images(count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shades = torch.randint(0, 256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return [(shade // 2 + 127 * (i % 2), i % 2) for i, shade in enumerate(shades)]


def trained(folder, epochs, callbacks=()):
    parts = {"task": "classification", "model": "cifar_resnet20", "train": images(), "val": images(4, 1)}
    more = {"epochs": epochs, "callbacks": callbacks, "run": folder}
    return unpool.train(**parts, classes=("dark", "bright"), overrides=TRANSFER, **more)["run"]


def test_run_with_frozen_parts_and_rates_by_stage_resumes_to_the_same_bits(tmp_path, caplog):
    whole = trained(tmp_path / "whole", 2)
    assert "model.frozen is set and model.weights is not" in caplog.text
    stopped = trained(tmp_path / "stopped", 1)
    unpool.resume(stopped, {"train.epochs": 2}, train=images(), val=images(4, 1))
    one, other = (load_file(f"{run}/model.safetensors") for run in (whole, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["backbone.stem.norm.running_mean"].abs().max() == 0
    assert one["backbone.stages.0.0.branch.0.norm.running_mean"].abs().max() > 0


def probed(folder, by="ridge", **more):
    parts = {"task": "classification", "train": images(20), "val": images(10, 1), "classes": ("dark", "bright")}
    return unpool.probe(**parts, model="cifar_resnet20", by=by, overrides={"model.width": 4, **more}, run=folder)


def test_fitted_classifier_is_a_run_that_evaluate_and_predict_read(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    metrics = probed(tmp_path / "run")
    assert "model.weights is not set" in caplog.text
    assert "network  cifar_resnet20" in capsys.readouterr().err
    assert metrics["top1"] > 0.5
    assert (metrics["training"]["features"], metrics["training"]["images"]) == (16, 20)
    again = unpool.evaluate(metrics["run"], reader=images(10, 1))
    assert (again["top1"], again["loss"]) == (metrics["top1"], pytest.approx(metrics["loss"]))
    answers = unpool.load(metrics["run"])([image for image, _ in images(10, 1)])
    assert sum(answer["label"] == i % 2 for i, answer in enumerate(answers)) == 10 * metrics["top1"]
    with pytest.raises(RecipeError, match="its last layer was fitted to features"):
        unpool.resume(metrics["run"], train=images(20), val=images(10, 1))


def test_features_are_computed_once_for_the_same_images_weights_and_preprocessing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    computed, compute = [], probing._computed
    monkeypatch.setattr(probing, "_computed", lambda *parts: computed.append(1) or compute(*parts))
    for count, more in ((1, {}), (1, {}), (2, {"train.seed": 5}), (3, {"data.mean": [0.1] * 3})):
        probed(tmp_path / f"run{len(list(tmp_path.iterdir()))}", **more)
        assert len(computed) == count
    next((tmp_path / "cache" / "unpool" / "features").iterdir()).write_bytes(b"damaged")
    probed(tmp_path / "mended")


def test_probe_fits_the_probabilities_that_the_answers_have(tmp_path, monkeypatch):
    asked, fit = [], probing.fit_linear
    monkeypatch.setattr(probing, "fit_linear", lambda *a, **how: asked.append(how["activation"]) or fit(*a, **how))
    state = torch.get_rng_state()
    probed(tmp_path / "run", **{"task.loss": "binary_cross_entropy"})
    assert asked == ["sigmoid"]
    assert torch.equal(torch.get_rng_state(), state)


def test_recipe_without_scores_of_classes_is_not_probed():
    with pytest.raises(RecipeError, match="task segmentation has no one score a class"):
        unpool.probe("scenes_unet")


class Rates(Callback):
    """The learning rates of the groups at each step."""

    def __init__(self):
        self.seen = set()

    def after_step(self, job, record):
        self.seen |= {round(group["lr"] / record.lr, 6) for group in job.optimizer.param_groups}


def test_rates_of_a_recipe_reach_the_optimizer(tmp_path):
    rates = Rates()
    trained(tmp_path / "run", 1, callbacks=[rates])
    assert rates.seen == {1.0, 0.1, 0.05, 0.025}


class Twice(nn.Module):
    """A classifier with a head that it does not give, registered last."""

    def __init__(self):
        super().__init__()
        self.head, self.other = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, image):
        return self.head(image.mean((2, 3)))


def test_layer_that_is_fitted_is_the_one_whose_output_the_network_gives():
    network, task = Twice(), Classification(DataInfo(classes=("a", "b")))
    assert probing._last_layer(network, task, torch.rand(1, 3, 8, 8)) is network.head
    gate = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Softmax(1), nn.Linear(2, 2))
    assert probing._last_layer(gate, task, torch.rand(1, 3, 2, 2)) is gate[3]
    scaled = nn.Sequential(nn.Flatten(), DropConnectLinear(12, 2))
    with pytest.raises(RecipeError, match="does not give what a linear layer"):
        probing._last_layer(scaled.eval(), task, torch.rand(1, 3, 2, 2))


def test_features_of_a_network_of_the_caller_s_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = {"task": "classification", "train": images(20), "val": images(10, 1), "classes": ("dark", "bright")}
    unpool.probe(**parts, model=Twice(), run=tmp_path / "run")
    assert not (tmp_path / "cache" / "unpool" / "features").exists()
