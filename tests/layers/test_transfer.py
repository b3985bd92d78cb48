"""What transfers of a network: its backbone and stages, frozen ones, and rates by stage."""

import copy

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.layers.transfer import freeze, rate_factors, stages_of


def small(name="cifar_resnet20", **options):
    return models.build(name, num_classes=3, **options)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("cifar_resnet20", ["backbone.stem", *(f"backbone.stages.{i}" for i in range(3))]),
        ("lenet5", ["features"]),
    ],
)
def test_stages_are_named_as_the_network_names_them_first_to_last(name, stages):
    assert [stage for stage, _ in stages_of(small(name))] == stages


def test_stages_that_are_numbered_by_names_are_not_taken_apart():
    blocks = {"conv1": nn.Conv2d(3, 3, 1), "layer1": nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))}
    network = nn.ModuleDict({"backbone": nn.ModuleDict(blocks), "head": nn.Linear(3, 2)})
    assert [stage for stage, _ in stages_of(network)] == ["backbone.conv1", "backbone.layer1"]


def test_frozen_part_keeps_weights_and_statistics_while_the_rest_learns():
    network = small()
    freeze(network, ["backbone.stem", "backbone.stages.0"])
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.1)
    network(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("backbone.stem", "backbone.stages.0")) for name in changed)
    assert any("running_mean" in name for name in changed)
    assert {name.split(".")[0] for name in changed} == {"backbone", "head"}


def test_frozen_parts_stay_in_evaluation_also_in_a_copy():
    network = small()
    freeze(network, ["backbone"])
    for one in (network, copy.deepcopy(network)):
        one.train()
        assert one.training
        assert one.head.training
        assert not any(module.training for module in one.backbone.modules())
    assert copy.deepcopy(network).backbone.train.__self__ is not network.backbone


def test_backbone_of_a_network_without_one_is_all_before_its_last_part():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    freeze(network, ["backbone"])
    assert [name for name, weight in network.named_parameters() if weight.requires_grad] == ["3.weight", "3.bias"]


@pytest.mark.parametrize(
    ("network", "names", "says"),
    [
        (small, ["stages.0"], "'stages.0', which is no part of the network; its stages are backbone, backbone.stem"),
        (lambda: nn.Linear(3, 2), ["backbone"], "Linear has no module backbone"),
    ],
)
def test_part_that_is_none_is_refused_with_those_that_there_are(network, names, says):
    with pytest.raises(RecipeError, match=says):
        freeze(network(), names)


def test_rates_fall_towards_the_image_and_the_head_has_the_whole_rate():
    network = small()
    factors = rate_factors(network, backbone=0.1, decay=0.5)
    by_name = {name: factors.get(weight, 1.0) for name, weight in network.named_parameters()}
    firsts = {name.rpartition(".stages.")[2][:1]: factor for name, factor in by_name.items() if ".stages." in name}
    assert firsts == {"0": 0.025, "1": 0.05, "2": 0.1}
    assert by_name["backbone.stem.conv.weight"] == 0.0125
    assert by_name["head.linear.weight"] == 1


def test_no_factor_is_no_group_more_and_decay_needs_stages():
    assert rate_factors(small(), backbone=1.0, decay=1.0) == {}
    with pytest.raises(RecipeError, match="has one stage only"):
        rate_factors(small("lenet5"), backbone=1.0, decay=0.5)
