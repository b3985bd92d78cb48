"""An override that exchanges the backbone of a recipe takes the options of the one before with it."""

import logging

import pytest

from unpool import load_recipe
from unpool.errors import RecipeError

TEXT = """
about: An SSD.
data: {reader: box_scenes}
model: {name: ssd, backbone: resnet18, width: 32, stem_bias: true}
task: {name: detection}
train: {epochs: 1, batch: 4, optimizer: adamw, lr: 1e-3, schedule: constant}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("is_loaded", [False, True])
def test_options_of_the_backbone_before_go_and_are_named(file, is_loaded, caplog):
    with caplog.at_level(logging.WARNING, logger="unpool"):
        recipe = load_recipe(load_recipe(file) if is_loaded else file, {"model.backbone": "vgg11_bn"})
    assert "stem_bias" not in recipe.model.options
    assert recipe.model.options["width"] == 32
    assert caplog.messages == ["left out of the recipe, since vgg11_bn has no such option: model.stem_bias"]


def test_options_that_the_new_backbone_has_too_stay(file, caplog):
    options = load_recipe(file, {"model.backbone": "resnet34"}).model.options
    assert (options["width"], options["stem_bias"]) == (32, True)
    assert not caplog.records


def test_option_that_an_override_asks_for_is_refused_where_it_does_not_fit(file):
    with pytest.raises(RecipeError, match="has no key 'stem_bias'"):
        load_recipe(file, {"model.backbone": "vgg11_bn", "model.stem_bias": False})


def test_misspelt_option_is_refused_with_another_backbone_too(file):
    file.write_text(TEXT.replace("width", "widht"))
    with pytest.raises(RecipeError, match="has no key 'widht'"):
        load_recipe(file, {"model.backbone": "vgg11_bn"})
