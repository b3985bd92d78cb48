"""The three shortcuts and the identity that residual blocks can become."""

import pytest
import torch
from torch import nn

from unpool.layers.residual import Residual, always_projected, projected, zero_padded
from unpool.models.backbones.resnet import basic, bottleneck


def test_option_a_subsamples_and_fills_with_zeros():
    x = torch.randn(2, 3, 7, 8)
    y = zero_padded(3, 5, 2)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2])
    assert y.shape == (2, 5, 4, 4)
    assert not y[:, 3:].any()


@pytest.mark.parametrize(
    ("shortcut", "same", "wider"), [(zero_padded, 0, 0), (projected, 0, 16), (always_projected, 8, 16)]
)
def test_shortcut_has_the_parameters_of_its_option(shortcut, same, wider):
    """A 1x1 convolution of 2 to 2 or 4 channels and its norm, or nothing."""

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(shortcut(2, 2, 1)) == same
    assert count(shortcut(2, 4, 2)) == wider


@pytest.mark.parametrize("block", [basic, bottleneck])
def test_block_whose_last_norm_is_zero_is_the_identity_on_what_is_not_negative(block):
    torch.manual_seed(0)
    module = block(16, 16 if block is basic else 4, 1)
    nn.init.zeros_(module.branch[-1].norm.weight)
    x = torch.randn(2, 16, 5, 6).relu()
    assert torch.equal(module(x), x)


def test_sum_is_rectified_after_the_shortcut():
    block = Residual(nn.Identity(), nn.Identity())
    assert block(torch.tensor([-1.0, 2.0])).tolist() == [0.0, 4.0]


def test_stride_stands_where_the_row_says():
    first, later = bottleneck(8, 4, 2, stride_first=True), bottleneck(8, 4, 2)
    assert [layer.conv.stride for layer in first.branch] == [(2, 2), (1, 1), (1, 1)]
    assert [layer.conv.stride for layer in later.branch] == [(1, 1), (2, 2), (1, 1)]
