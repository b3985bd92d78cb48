"""Options that every network takes, on a network of each kind."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from unpool import models
from unpool.errors import RecipeError
from unpool.layers.dropout import DropConnectLinear, OriginalDropout, StochasticDepth
from unpool.models import MODELS, build, known_options
from unpool.models.exchanging import exchange
from unpool.models.of_run import _ALIKE
from unpool.recipe import load_recipe
from unpool.recipe.options import model_options

CIFAR = {"width": 4, "num_classes": 3}


def test_every_network_takes_every_option():
    assert all(set(models.EXCHANGED) <= set(known_options(name)) for name in MODELS)


@pytest.mark.parametrize(
    ("name", "more"), [("cifar_resnet20", CIFAR), ("fasterrcnn", {"backbone": "resnet18", "width": 4})]
)
def test_group_norms_count_the_same_and_keep_no_statistics(name, more):
    plain, grouped = build(name, **more), build(name, norms="group", **more)
    assert {name for name, _ in plain.named_parameters()} <= {name for name, _ in grouped.named_parameters()}
    trained = build(name, norms="trained", **more) if name == "fasterrcnn" else plain
    assert [p.shape for p in trained.parameters()] == [p.shape for p in grouped.parameters()]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in grouped.modules())
    assert not any("running" in name for name in grouped.state_dict())


def test_detectors_still_freeze_the_norms_of_their_backbone():
    options = model_options("fasterrcnn", "resnet18")
    known = TypeAdapter(options["norms"].kind)
    assert [known.validate_python(word) for word in ("frozen", "frozen_no_eps", "trained", "group")]
    with pytest.raises(RecipeError, match="norms is 'frozen'; it must be group"):
        build("cifar_resnet20", norms="frozen", **CIFAR)


def test_drop_of_residual_blocks_rises_linearly_to_the_last():
    network = build("cifar_resnet20", stochastic_depth=0.45, **CIFAR)
    rates = [module.rate for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.05 * number for number in range(1, 10)])
    plain = build("cifar_resnet20", **CIFAR)
    plain.load_state_dict(network.state_dict())
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(network.eval()(image), plain.eval()(image))


@pytest.mark.parametrize(("form", "kind"), [("original", OriginalDropout), ("inverted", nn.Dropout)])
def test_dropout_has_the_share_and_form_that_are_asked_for(form, kind):
    network = build("unet_same_bn", width=4, dropout=0.2, dropout_form=form)
    drops = [module for module in network.modules() if isinstance(module, _DropoutNd)]
    assert [(type(drop), drop.p) for drop in drops] == [(kind, 0.2)]


def test_dropconnect_takes_the_weights_of_the_layer_behind_a_dropout():
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(0.3), nn.Linear(5, 2))
    state = network.state_dict()
    exchange(network, dropout_form="connect")
    assert isinstance(network[3], DropConnectLinear)
    assert network[3].p == 0.3
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert isinstance(network[2], nn.Identity)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"norms": "group"}, "the network has no batch norm"),
        ({"dropout": 0.2}, "the network has no dropout"),
        ({"dropout_form": "connect"}, "the network has no dropout"),
        ({"stochastic_depth": 0.2}, "no residual block of ours"),
    ],
)
def test_what_the_network_does_not_have_is_refused(options, says):
    with pytest.raises(RecipeError, match=says):
        exchange(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"stochastic_depth": 1.0}, "stochastic_depth is 1.0"),
        ({"dropout_form": "connect"}, "none follows dropout"),
        ({"dropout_form": "spatial"}, "it must be inverted, original or connect"),
    ],
)
def test_values_that_cannot_be_are_refused(options, says):
    with pytest.raises(RecipeError, match=says):
        exchange(nn.Sequential(nn.Dropout(), nn.Conv2d(3, 3, 1)), **options)


def test_recipe_takes_the_options_and_refuses_group_norms_under_published_weights():
    recipe = load_recipe("folder_resnet18", {"data.root": "x", "model.norms": "group", "model.stochastic_depth": 0.2})
    assert recipe.model.options["norms"] == "group"
    assert "dropout" not in recipe.model.options
    assert {"dropout", "stochastic_depth"} <= _ALIKE
    with pytest.raises(RecipeError, match="were trained with batch norms"):
        load_recipe(recipe, {"model.weights": "imagenet"})
    with pytest.raises(RecipeError, match=r"stochastic_depth is 1\.0"):
        load_recipe(recipe, {"model.stochastic_depth": 1.0})
