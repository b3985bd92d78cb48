"""Boxes are attached to a classifier that has learned: its file gives all but the layers of the boxes."""

import json
from types import SimpleNamespace

import pytest
import torch

from tests.small_localizer import write_recipe
from unpool import models
from unpool.assemble.model import make_model
from unpool.errors import ModelFileError
from unpool.models.weights import save_weights
from unpool.recipe import load_recipe
from unpool.types import DataInfo


def classifier(folder, name="resnet18", classes=3, **options):
    torch.manual_seed(1)
    network = models.build(name, width=8, num_classes=classes, **options)
    return network, of_run(folder, name, network, classes=["bee", "ant", "cat"])


def of_run(folder, name, network, options=None, **info):
    """The file of weights that a run leaves, with its config.json."""
    config = {"network": {"name": name, "backbone": None, "options": options}, "info": info}
    (folder / "config.json").write_text(json.dumps(config))
    return save_weights(folder / "model.safetensors", network)


def localizer(path, name="localizer", **options):
    torch.manual_seed(0)
    return models.build(name, width=8, num_classes=3, weights=path, **options)


@pytest.mark.parametrize(("name", "whole"), [("resnet18", "localizer"), ("alexnet", "alexnet_localizer_per_class")])
def test_classifiers_run_gives_all_but_the_boxes_which_the_log_says(name, whole, tmp_path, caplog):
    trained, path = classifier(tmp_path, name)
    tensors = localizer(path, whole).state_dict()
    torch.manual_seed(0)
    new = models.build(whole, width=8, num_classes=3).state_dict()
    given = trained.state_dict()
    assert all(torch.equal(value, given.get(key, new[key])) for key, value in tensors.items())
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "new, with initial weights: locate." in record.message


def test_whole_localizers_file_gives_the_boxes_too(tmp_path):
    trained = localizer(None)
    tensors = localizer(save_weights(tmp_path / "w.safetensors", trained)).state_dict()
    assert all(torch.equal(value, tensors[key]) for key, value in trained.state_dict().items())


def test_run_of_a_whole_localizer_is_taken_for_itself(tmp_path):
    torch.manual_seed(1)
    trained = models.build("alexnet_localizer", width=8, num_classes=3)
    path = of_run(tmp_path, "alexnet_localizer", trained, options={"things": 1, "width": 8})
    assert torch.equal(localizer(path, "alexnet_localizer").locate.weight, trained.locate.weight)


def test_localizer_of_other_boxes_is_refused_and_not_taken_for_a_classifier(tmp_path):
    path = of_run(tmp_path, "localizer", localizer(None))
    with pytest.raises(ModelFileError, match=r"locate.last.weight \(4, 512\) for \(12, 512\).*saved from localizer"):
        localizer(path, "localizer_per_class")


def test_classifier_of_other_classes_is_refused_with_the_way_to_a_new_head(tmp_path):
    _, path = classifier(tmp_path, classes=5)
    with pytest.raises(ModelFileError, match=r"trained on another number of classes: leave the last layer new"):
        localizer(path)
    assert localizer(path, new_head=True).head.linear.out_features == 3


def test_run_of_another_classifier_of_the_same_shapes_is_refused(tmp_path):
    _, path = classifier(tmp_path, "resnet50_v1", stem_bias=False)
    with pytest.raises(ModelFileError, match="was saved from resnet50_v1, and this is resnet50"):
        localizer(path, backbone="resnet50")


def test_same_classes_in_another_order_are_refused(tmp_path):
    _, path = classifier(tmp_path)
    recipe = load_recipe(write_recipe(tmp_path), [f"model.weights={path}", "model.width=8"])
    with pytest.raises(ModelFileError, match="same names in another order"):
        make_model(recipe, SimpleNamespace(outputs=3, added_channels=0), DataInfo(classes=("ant", "bee", "cat")))
