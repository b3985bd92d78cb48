"""Four branches in their order."""

import torch
from torch import nn

from unpool.layers.inception import Inception, Widths

WIDTHS = Widths(2, 3, 4, 5, 6, 7)


def layer(in_channels, out_channels, kernel):
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)


def test_branches_stand_in_the_papers_order_and_keep_the_size():
    torch.manual_seed(0)
    module = Inception(8, WIDTHS, layer=layer)
    x = torch.rand(2, 8, 5, 7)
    one, three, five, pooled = module(x).split([2, 4, 6, 7], dim=1)
    first, second, third, last = module.branches
    torch.testing.assert_close(one, first(x))
    torch.testing.assert_close(three, second[1](second[0](x)))
    torch.testing.assert_close(five, third[1](third[0](x)))
    torch.testing.assert_close(pooled, last[1](nn.functional.max_pool2d(x, 3, stride=1, padding=1)))
    assert module(x).shape[1] == WIDTHS.out_channels == 19


def test_filters_have_the_sides_of_the_paper():
    kernels = [
        [m.kernel_size[0] for m in branch.modules() if isinstance(m, nn.Conv2d)]
        for branch in Inception(8, WIDTHS, layer=layer).branches
    ]
    assert kernels == [[1], [1, 3], [1, 5], [1]]
