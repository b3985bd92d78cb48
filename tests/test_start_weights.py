"""A run that starts from weights says where its images are normalised otherwise than those of the weights."""

import json
from types import SimpleNamespace

import pytest

from unpool import models
from unpool.assemble.model import make_model
from unpool.errors import ModelFileError
from unpool.models.weights import save_weights
from unpool.recipe import load_recipe
from unpool.types import DataInfo

TASK = SimpleNamespace(outputs=5, added_channels=0)
INFO = DataInfo(classes=("ant", "bee", "cat", "dog", "elk"))
COLOURS = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "order": "rgb", "value_range": [0.0, 1.0]}


@pytest.fixture
def start(tmp_path):
    return save_weights(tmp_path / "start.safetensors", models.build("resnet18", width=4, num_classes=5))


def recipe(start, *overrides):
    return load_recipe("folder_resnet18", [f"model.weights={start}", "model.width=4", *overrides])


def test_file_that_says_nothing_of_its_images_is_told_once(start, caplog):
    make_model(recipe(start), TASK, INFO)
    (warning,) = [record.message for record in caplog.records]
    assert "does not say how its images were normalised; they are now by data.mean [0.485, 0.456, 0.406]" in warning


def test_start_from_weights_of_another_normalisation_is_warned_of(start, caplog):
    network = {"name": "resnet18", "backbone": None}
    config = {"network": network, "preprocessing": COLOURS}
    (start.parent / "config.json").write_text(json.dumps(config))
    make_model(recipe(start, "data.mean=[0.5,0.5,0.5]", "data.std=[0.5,0.5,0.5]"), TASK, INFO)
    assert caplog.records == []
    make_model(recipe(start), TASK, INFO)
    assert "trained on images of another normalisation than this run's: data.mean [0.485" in caplog.text
    assert "not [0.5, 0.5, 0.5]" in caplog.text


def test_resumed_run_asks_for_no_file(start, caplog):
    start.unlink()
    make_model(recipe(start, "model.new_head=true"), TASK, INFO, is_resumed=True)
    assert caplog.records == []


def test_last_layer_is_new_where_the_recipe_asks(start):
    network = make_model(recipe(start, "model.new_head=true"), SimpleNamespace(outputs=7, added_channels=0), INFO)
    assert network.head.linear.out_features == 7


def beside(start, classes):
    """config.json of a run on these classes, whose images were normalised as the recipe's."""
    colours = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "rgb", "value_range": [0.0, 1.0]}
    config = {"network": {"name": "resnet18", "backbone": None}, "preprocessing": colours, "info": {"classes": classes}}
    (start.parent / "config.json").write_text(json.dumps(config))


def test_classes_of_other_names_are_warned_of(start, caplog):
    beside(start, list(INFO.classes))
    make_model(recipe(start), TASK, INFO)
    assert caplog.records == []
    beside(start, ["ash", "elm", "fir", "oak", "yew"])
    make_model(recipe(start), TASK, INFO)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "trained on the classes ash, elm, fir, oak, yew, and these are ant, bee, cat, dog, elk" in record.message
    assert "model.new_head=true" in record.message
    caplog.clear()
    make_model(recipe(start, "model.new_head=true"), TASK, INFO)
    assert "trained on the classes" not in caplog.text


def test_same_classes_in_another_order_are_refused(start):
    beside(start, ["ant", "cat", "bee", "dog", "elk"])
    with pytest.raises(ModelFileError, match=r"another order \(number 1 is cat, and here bee\).*model\.new_head=true"):
        make_model(recipe(start), TASK, INFO)
    make_model(recipe(start, "model.new_head=true"), TASK, INFO)


def test_order_of_classes_does_not_matter_where_the_backbone_alone_is_taken(start, caplog):
    beside(start, ["ant", "cat", "bee", "dog", "elk"])
    other = load_recipe("folder_unet", [f"model.weights={start}", "model.width=4", "model.backbone=resnet18"])
    make_model(other, TASK, INFO)
    assert "into the backbone" in caplog.text
    assert "trained on the classes" not in caplog.text
