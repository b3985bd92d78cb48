"""A run that starts from weights says where its images are normalised otherwise than those of the weights."""

import json
from types import SimpleNamespace

import pytest

from unpool import models
from unpool.assemble.model import make_model
from unpool.models.weights import save_weights
from unpool.recipe import load_recipe

TASK = SimpleNamespace(outputs=5, added_channels=0)
COLOURS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "order": "rgb", "value_range": [0.0, 1.0]}


@pytest.fixture
def start(tmp_path):
    return save_weights(tmp_path / "start.safetensors", models.build("resnet18", width=4, num_classes=5))


def recipe(start, *overrides):
    return load_recipe("folder_resnet18", [f"model.weights={start}", "model.width=4", *overrides])


def test_file_that_says_nothing_of_its_images_is_told_once(start, caplog):
    make_model(recipe(start), TASK)
    (warning,) = [record.message for record in caplog.records]
    assert "does not say how its images were normalised; they are now by data.mean [0.485, 0.456, 0.406]" in warning


def test_start_from_weights_of_another_normalisation_is_warned_of(start, caplog):
    network = {"name": "resnet18", "backbone": None}
    config = {"network": network, "preprocessing": COLOURS}
    (start.parent / "config.json").write_text(json.dumps(config))
    make_model(recipe(start, "data.mean=[0.5,0.5,0.5]", "data.std=[0.5,0.5,0.5]"), TASK)
    assert caplog.records == []
    make_model(recipe(start), TASK)
    assert "trained on images of another normalisation than this run's: data.mean [0.485" in caplog.text
    assert "not [0.5, 0.5, 0.5]" in caplog.text


def test_resumed_run_asks_for_no_file(start, caplog):
    start.unlink()
    make_model(recipe(start, "model.new_head=true"), TASK, is_resumed=True)
    assert caplog.records == []


def test_last_layer_is_new_where_the_recipe_asks(start):
    network = make_model(recipe(start, "model.new_head=true"), SimpleNamespace(outputs=7, added_channels=0))
    assert network.head.linear.out_features == 7
