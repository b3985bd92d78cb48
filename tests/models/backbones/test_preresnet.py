"""The path that no activation interrupts."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.layers.preactivation import Preactivated, SharedPreactivated
from unpool.models import BACKBONES, MODELS


def without_branches(name, **options):
    """The network in evaluation mode, its norms all different, every branch dead."""
    torch.manual_seed(0)
    model = models.build(name, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, Preactivated | SharedPreactivated):
            for layer in module.branch.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.zeros_(layer.weight)
    return model


def test_without_branches_the_logits_come_from_stem_shortcuts_and_the_last_norm():
    model = without_branches("preresnet110", width=2)
    image = torch.rand(3, 3, 32, 32)
    body = model.backbone
    x = body.stem(image)
    for stage in body.stages:  # its first unit activates before the shortcut, the others add nothing
        x = stage[0].shortcut(stage[0].norm(x).relu())
    x = nn.functional.batch_norm(x, body.norm.running_mean, body.norm.running_var, body.norm.weight, body.norm.bias)
    torch.testing.assert_close(model(image), model.head.linear(x.relu().mean((2, 3))))


def test_units_inside_of_a_stage_pass_negative_values_on():
    model = without_branches("preresnet164", width=2)
    x = torch.randn(2, 8, 5, 6)
    assert torch.equal(model.backbone.stages[0][1:](x), x)


def test_shortcut_of_basic_units_subsamples_and_fills_with_zeros():
    shortcut = BACKBONES["preresnet110"].build(width=2).stages[1][0].shortcut
    x = torch.rand(1, 2, 6, 6)
    assert torch.equal(shortcut(x)[:, :2], x[:, :, ::2, ::2])
    assert not shortcut(x)[:, 2:].any()


@pytest.mark.parametrize("name", ["preresnet50", "preresnet110"])
def test_only_the_last_map_is_activated(name):
    torch.manual_seed(0)
    maps = BACKBONES[name].build(width=4).eval()(torch.randn(1, 3, 64, 64))
    assert maps[-1].min() >= 0
    assert all(m.min() < 0 for m in maps[-3:-1])


def test_networks_for_224_keep_the_pooling_of_resnets_stem():
    torch.manual_seed(0)
    backbone = BACKBONES["preresnet50"].build(width=4).eval()
    maps = backbone(torch.randn(1, 3, 64, 64))
    assert maps[0].min() == 0
    torch.testing.assert_close(maps[1], backbone.stages[0](nn.functional.max_pool2d(maps[0], 3, 2, padding=1)))


def test_stride_stands_on_the_first_convolution_of_a_unit():
    unit = BACKBONES["preresnet50"].build(width=4).stages[1][0]
    assert [m.stride for m in unit.branch.modules() if isinstance(m, nn.Conv2d)] == [(2, 2), (1, 1), (1, 1)]
    assert unit.shortcut.stride == (2, 2)


def test_networks_of_two_convolutions_a_unit_have_the_parameters_of_option_a():
    assert MODELS["preresnet110"].params == MODELS["cifar_resnet110"].params


@pytest.mark.parametrize(("name", "params"), [("preresnet164", 1_726_388), ("preresnet1001", 10_350_836)])
def test_networks_for_a_hundred_classes_have_the_published_count(name, params):
    with torch.device("meta"):
        assert sum(p.numel() for p in models.build(name, num_classes=100).parameters()) == params
