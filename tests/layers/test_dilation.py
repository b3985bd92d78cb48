"""Dilated convolution as one with a filter full of zeros."""

import pytest
import torch
from torch import nn

from unpool.layers.dilation import stuff_zeros


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3, 6])
def test_stuffed_filter_has_its_effective_size_and_gives_the_dilated_convolution(kernel, dilation):
    torch.manual_seed(0)
    weight, x = draw(3, 2, kernel, kernel), draw(2, 2, 27, 26)
    stuffed = stuff_zeros(weight, dilation)
    side = kernel + (kernel - 1) * (dilation - 1)
    assert stuffed.shape == (3, 2, side, side)
    expected = nn.functional.conv2d(x, weight, padding=2, dilation=dilation)
    torch.testing.assert_close(nn.functional.conv2d(x, stuffed, padding=2), expected, rtol=1e-12, atol=1e-12)


def test_three_by_three_at_rate_two_covers_five_by_five_at_the_cost_of_nine():
    stuffed = stuff_zeros(torch.arange(1.0, 10).view(1, 1, 3, 3), 2)
    rows = [[1, 0, 2, 0, 3], [0] * 5, [4, 0, 5, 0, 6], [0] * 5, [7, 0, 8, 0, 9]]
    assert stuffed[0, 0].tolist() == rows
    assert int(stuffed.count_nonzero()) == 9


def test_rates_may_differ_between_the_axes_and_lines_have_one():
    assert stuff_zeros(torch.ones(1, 1, 2, 2), (1, 3))[0, 0].tolist() == [[1, 0, 0, 1], [1, 0, 0, 1]]
    assert stuff_zeros(torch.ones(1, 1, 3), 2).flatten().tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("rate", [8, 9, 20])
def test_rate_as_large_as_the_map_leaves_the_centre_tap(rate):
    """With padding that keeps the size, all other taps of a 3x3 filter see zeros: a 1x1 convolution is left."""
    torch.manual_seed(0)
    weight, x = draw(3, 2, 3, 3), draw(2, 2, 8, 7)
    dilated = nn.functional.conv2d(x, weight, padding=rate, dilation=rate)
    centre = nn.functional.conv2d(x, weight[:, :, 1:2, 1:2])
    torch.testing.assert_close(dilated, centre, rtol=1e-12, atol=1e-12)


def test_gradient_reaches_every_tap():
    weight = draw(2, 2, 3, 3).requires_grad_()
    stuff_zeros(weight, 3).sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))


def test_rate_below_one_is_refused():
    with pytest.raises(ValueError, match="dilation is 0; give the distance of the taps"):
        stuff_zeros(torch.ones(1, 1, 3, 3), 0)
