"""What the identity passes on untouched."""

import torch
from torch import nn

from unpool.layers.preactivation import NormActConv, Preactivated, SharedPreactivated


def test_unit_whose_last_convolution_is_zero_is_the_identity_on_negative_values_too():
    torch.manual_seed(0)
    unit = Preactivated(nn.Sequential(NormActConv(4, 4), NormActConv(4, 4)))
    nn.init.zeros_(unit.branch[-1].conv.weight)
    x = torch.randn(2, 4, 5, 6)
    assert (x < 0).any()
    assert torch.equal(unit(x), x)


def test_first_unit_gives_its_shortcut_the_activated_input():
    torch.manual_seed(0)
    unit = SharedPreactivated(4, nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.Identity()).eval()
    unit.norm.bias.data = torch.tensor([0.5, -0.5, 0.1, 0.0])
    nn.init.zeros_(unit.branch.weight)
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(unit(x), unit.norm(x).relu())


def test_norm_and_activation_stand_before_the_weights():
    torch.manual_seed(0)
    part = NormActConv(3, 5, stride=2)
    x = torch.randn(2, 3, 7, 8)
    expected = nn.functional.conv2d(part.norm(x).relu(), part.conv.weight, stride=2, padding=1)
    torch.testing.assert_close(part(x), expected)
    assert expected.shape == (2, 5, 4, 4)
