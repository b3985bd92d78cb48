"""1x1 bottlenecks and small filters by their cost; skips that add, that put side by side, that remember places."""

import pytest
import torch
from torch import nn

from unpool.inspection.cost import macs
from unpool.layers.conv import ConvNormAct
from unpool.layers.pooling import MaxPoolSwitches, max_unpool
from unpool.layers.residual import Residual
from unpool.layers.unpooling import BedOfNails
from unpool.models.backbones.resnet import basic, bottleneck

D, SIDE = 16, 6


def weights(module):
    """Numbers in the filters; norms are left out, as the lecture's counts do."""
    return sum(p.numel() for p in module.parameters() if p.dim() == 4)


def stack(*layers):
    return nn.Sequential(*(ConvNormAct(*layer) for layer in layers))


@pytest.mark.parametrize(
    ("module", "times_d_squared"),
    [
        (stack((D, D, 7)), 49),
        (stack((D, D, 3), (D, D, 3), (D, D, 3)), 27),
        (stack((D, D, 3)), 9),
        (stack((D, D // 2, 1), (D // 2, D // 2, 3), (D // 2, D, 1)), 3.25),
    ],
    ids=["one 7x7", "three 3x3", "one 3x3", "bottleneck to a half"],
)
def test_small_filters_and_bottlenecks_cost_what_the_lecture_counts(module, times_d_squared):
    assert weights(module) == times_d_squared * D**2
    assert macs(module, (D, SIDE, SIDE)) == times_d_squared * D**2 * SIDE**2


def test_bottleneck_sees_four_times_the_channels_at_the_cost_of_a_basic_block():
    """ResNet's figure 5: 64 channels through two 3x3, or 256 through 1x1, 3x3, 1x1."""
    plain, narrow = basic(64, 64, 1), bottleneck(256, 64, 1)
    assert weights(plain) == 2 * 9 * 64 * 64
    assert weights(narrow) == 2 * 256 * 64 + 9 * 64 * 64
    assert macs(narrow, (256, SIDE, SIDE)) < macs(plain, (64, SIDE, SIDE))


def test_1x1_convolution_is_a_weighted_sum_of_the_channels_at_each_place():
    torch.manual_seed(0)
    conv, x = nn.Conv2d(5, 3, 1), torch.randn(2, 5, 4, 6)
    by_pixel = nn.functional.linear(x.movedim(1, -1), conv.weight.flatten(1), conv.bias).movedim(-1, 1)
    torch.testing.assert_close(conv(x), by_pixel, rtol=0, atol=1e-6)


def deep(block, depth=30):
    return nn.Sequential(*(block() for _ in range(depth)))


def test_sum_hands_the_gradient_back_unchanged_past_branches_that_give_nothing():
    def silent():
        conv = nn.Conv2d(2, 2, 3, padding=1)
        for parameter in conv.parameters():
            nn.init.zeros_(parameter)
        return Residual(conv, nn.Identity())

    torch.manual_seed(0)
    x, gradient = torch.rand(1, 2, 4, 4).requires_grad_(), torch.randn(1, 2, 4, 4)
    y = deep(silent)(x)
    assert torch.equal(y, x)
    assert torch.equal(torch.autograd.grad(y, x, gradient)[0], gradient)


def test_gradient_of_thirty_layers_vanishes_without_the_sum():
    def branch():
        conv = nn.Conv2d(2, 2, 3, padding=1)
        nn.init.normal_(conv.weight, std=0.1)
        return conv

    torch.manual_seed(0)
    x = torch.rand(1, 2, 4, 4).requires_grad_()
    torch.manual_seed(1)
    plain = torch.autograd.grad(deep(branch)(x).sum(), x)[0].norm()
    torch.manual_seed(1)
    summed = torch.autograd.grad(deep(lambda: Residual(branch(), nn.Identity()))(x).sum(), x)[0].norm()
    assert plain < 1e-6 < 1e-2 < summed


def test_concatenation_can_do_what_the_sum_does_and_keeps_both_maps():
    torch.manual_seed(0)
    fine, coarse = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    both = torch.cat([fine, coarse], dim=1)
    adding = torch.eye(3).repeat(1, 2)[:, :, None, None]  # a 1x1 convolution of 6 to 3 channels
    assert torch.equal(nn.functional.conv2d(both, adding), fine + coarse)
    assert torch.equal(both[:, :3], fine)
    assert torch.equal(both[:, 3:], coarse)


def test_switches_hand_on_the_places_and_none_of_the_values():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 6, 8) + 1
    pooled, switches = MaxPoolSwitches()(x)
    ones = max_unpool(torch.ones_like(pooled), switches, (6, 8))
    assert torch.equal(ones * x, max_unpool(pooled, switches, (6, 8)))
    assert set(ones.unique().tolist()) == {0, 1}
    louder = MaxPoolSwitches()(3 * x)[1]
    assert torch.equal(louder, switches)
    assert not torch.equal(ones, BedOfNails()(torch.ones_like(pooled)))
