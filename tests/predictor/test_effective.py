"""`unpool show field`: of a network, a run and photographs."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

import unpool
from unpool.cli.main import main
from unpool.errors import RecipeError


def test_field_is_that_of_the_layer_and_smaller_than_the_theoretical_one():
    view = unpool.show_field("lenet5", layer="features.pool2", samples=3)
    assert (view.values["layer"], view.values["theoretical"], view.values["images"]) == ("features.pool2", [16, 16], 3)
    assert view.values["side"] <= 16
    assert view.picture.dtype == torch.uint8
    assert view.picture.shape[0] == 3
    assert "the weights are random" in view.values["note"]


def test_seed_repeats_the_field_and_the_last_map_is_the_default(tmp_path):
    views = [unpool.show_field("lenet5", samples=2, seed=seed) for seed in (3, 3, 4)]
    assert views[0].values == views[1].values != views[2].values
    assert views[0].values["layer"] == "head.pool"
    assert views[0].save(tmp_path / "field.html").read_text().count("<img") == 1


def test_photographs_are_cut_to_the_networks_size(tmp_path):
    photo = tmp_path / "photo.png"
    Image.effect_noise((50, 40), 60).save(photo)
    view = unpool.show_field("lenet5", [photo], layer="features.conv1")
    assert view.values["images"] == 1
    assert view.values["theoretical"] == [5, 5]


def test_module_needs_a_size_and_one_without_a_map_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(RecipeError, match="nobody says the size of the images of Sequential"):
        unpool.show_field(model)
    assert unpool.show_field(model, size_hw=(12, 12), samples=1).values["theoretical"] == [3, 3]
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="no layer of Sequential has a map"):
        unpool.show_field(flat, size_hw=(12, 12))


def test_command_writes_the_picture_and_prints_both_fields(tmp_path, capsys):
    picture = tmp_path / "field.png"
    words = ["show", "field", "lenet5", "--samples", "2", "--layer", "features.pool2", "-o", str(picture)]
    assert main(words) == 0
    assert "theoretical  16 x 16" in capsys.readouterr().out
    assert Image.open(picture).width > 384
    assert main(words) == 2  # the file exists already
    assert "exists already" in capsys.readouterr().err
    picture.unlink()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["picture"] == str(picture)
    assert main(["show", "field", "lenet5", "--layer", "pool2", "-o", str(tmp_path)]) == 2
    assert "no layer 'pool2' ran" in capsys.readouterr().err
