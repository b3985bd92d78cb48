"""What a view is made on: the network that was named, the images that it expects, and what was assumed of them."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.weights import save_weights
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor
from unpool.predictor.sources import LONGEST, open_source, see
from unpool.tasks.classification import Classification
from unpool.types import DataInfo

INFO = DataInfo(classes=("dark", "bright"))


def noise(side=32):
    return torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def predictor():
    return Predictor(nn.Conv2d(3, 2, 1), Preprocessing(size_hw=(24, 16)), INFO, Classification(INFO), name="small")


def test_image_is_normalised_as_the_source_says_and_a_tensor_of_floats_is_left_alone():
    preprocessing = Preprocessing(size_hw=(16, 16), mean=(0.5,) * 3, std=(0.1,) * 3, order="bgr")
    source = open_source(nn.Identity(), preprocessing=preprocessing)
    seen = see(source, noise())
    assert torch.equal(seen.inputs["image"][0], preprocessing.normalize(preprocessing.resize(noise())))
    assert seen.picture.shape == (3, 16, 16)
    values = torch.randn(3, 9, 7)
    assert torch.equal(see(source, values).inputs["image"], values[None])
    guessed = open_source(nn.Identity())
    assert "normalised by ImageNet's mean" in see(guessed, noise()).notes[0]
    assert see(guessed, values).notes == seen.notes == ()


def test_image_that_is_too_large_is_made_smaller_and_the_view_says_so():
    seen = see(open_source(nn.Identity()), torch.zeros(3, 8, 2 * LONGEST, dtype=torch.uint8))
    assert seen.picture.shape == (3, 4, LONGEST)
    assert "made smaller, from 2048x8 to 1024x4" in seen.notes[1]
    assert seen.inputs["size_hw"].tolist() == [[8, 2 * LONGEST]]  # answers, and boxes to explain, lie on the image


def test_network_by_its_name_takes_its_images_and_says_that_its_weights_are_random():
    state = torch.get_rng_state()
    source = open_source("lenet5", if_random="a note")
    assert torch.equal(torch.get_rng_state(), state)
    assert (source.size_hw, source.in_channels, source.preprocessing.mean) == ((32, 32), 1, (0.5,))
    assert (source.title, source.notes) == ("lenet5, random weights", ("the weights are random: a note",))
    assert not source.network.training


def test_seed_draws_the_random_weights():
    first, again, other = (open_source("lenet5", seed=seed).network.state_dict() for seed in (1, 1, 2))
    name = "features.conv1.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_file_of_weights_is_loaded_and_its_normalisation_is_a_guess(tmp_path):
    network = models.build("lenet5")
    save_weights(tmp_path / "mine.safetensors", network)
    source = open_source("lenet5", weights=tmp_path / "mine.safetensors")
    weights = network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in source.network.state_dict().items())
    assert (source.title, source.notes) == ("lenet5, weights mine.safetensors", ())
    assert "a file names none" in source.assumed


def test_published_weights_without_classes_get_new_last_layers_and_a_note(monkeypatch):
    asked = {}
    monkeypatch.setattr(models, "build", lambda name, **options: asked.update(options) or nn.Identity())
    source = open_source("vgg16", weights="hed_vgg16")
    assert asked == {"weights": "hed_vgg16", "new_head": True}
    assert source.notes == ("weights hed_vgg16 have no classes: the last layers are random",)
    assert (source.has_classes, source.is_random, source.title) == (False, False, "vgg16, weights hed_vgg16")
    assert (source.preprocessing.order, source.size_hw) == ("bgr", (224, 224))


def test_predictor_keeps_its_classes_and_size_and_another_size_replaces_it():
    source = open_source(predictor())
    assert (source.name, source.classes, source.size_hw) == ("small", ("dark", "bright"), (24, 16))
    sized = open_source(predictor(), size_hw=(8, 12))
    assert sized.size_hw == sized.preprocessing.size_hw == sized.predictor.preprocessing.size_hw == (8, 12)


@pytest.mark.parametrize(
    ("source", "asked", "message"),
    [
        (nn.Identity(), {"weights": "imagenet"}, "a network that is passed has its weights"),
        (predictor(), {"weights": "best"}, "a network that is passed has its weights"),
        (predictor(), {"preprocessing": Preprocessing()}, "is for a network that is passed"),
        ("lenet5", {"preprocessing": Preprocessing()}, "is for a network that is passed"),
        ("lenet5", {"weights": "best"}, "weights 'best' belong to a run, and there is no run directory lenet5"),
        ("lenet5", {"weights": "imagenet"}, "no weights 'imagenet' are published for lenet5"),
        ("lenet6", {}, "no network is called 'lenet6'; did you mean: lenet5"),
    ],
)
def test_what_the_source_does_not_take_is_refused_by_name(source, asked, message):
    with pytest.raises(RecipeError, match=message):
        open_source(source, **asked)


def test_weights_of_a_run_are_last_or_best(tmp_path):
    with pytest.raises(RecipeError, match="weights of a run are last or best, not 'imagenet'"):
        open_source(tmp_path, weights="imagenet")
