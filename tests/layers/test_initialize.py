"""Sample variances against He's formula."""

import pytest
import torch
from torch import nn

from unpool.layers.initialize import he_normal, normal_linear


@pytest.mark.parametrize(
    ("layer", "mode", "fan"),
    [
        (nn.Conv2d(64, 128, 3), "fan_in", 64 * 9),
        (nn.Conv2d(64, 128, 3), "fan_out", 128 * 9),
        (nn.Linear(300, 400), "fan_in", 300),
        (nn.ConvTranspose2d(128, 64, 4, stride=2), "fan_in", 128 * 4),
    ],
)
def test_he_normal_has_variance_two_over_fan_and_no_bias(layer, mode, fan):
    torch.manual_seed(0)
    he_normal(layer, mode=mode)
    tolerance = 5 * (2 / layer.weight.numel()) ** 0.5  # five standard errors of a sample variance
    assert layer.weight.var().item() == pytest.approx(2 / fan, rel=tolerance)
    assert not layer.bias.any()


def test_he_normal_keeps_the_scale_through_an_upsampling():
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(64, 64, 2, stride=2)
    he_normal(layer, mode="fan_in")
    x = torch.randn(4, 64, 16, 16).relu()
    assert layer(x).square().mean().item() == pytest.approx(2 * x.square().mean().item(), rel=0.1)


def test_normal_linear_has_its_deviation():
    torch.manual_seed(0)
    layer = nn.Linear(300, 400)
    normal_linear(layer)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not layer.bias.any()
