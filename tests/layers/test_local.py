"""Locally connected layers against the convolution that they are when all their filters are one."""

import pytest
import torch
from torch import nn

from unpool.layers.local import LocallyConnected


def same_everywhere(layer, weight, bias):
    with torch.no_grad():
        layer.weight.copy_(weight.expand_as(layer.weight))
        layer.bias.copy_(bias.repeat_interleave(len(layer.bias) // len(bias)))
    return layer


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_equal_filters_everywhere_are_a_convolution(kernel, stride, padding):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, 6, 7), torch.randn(4, 3, kernel, kernel), torch.randn(4)
    layer = same_everywhere(LocallyConnected(3, 4, (6, 7), kernel, stride=stride, padding=padding), weight, bias)
    expected = nn.functional.conv2d(x, weight, bias, stride, padding)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_exchanged_filters_change_only_their_two_places():
    torch.manual_seed(0)
    layer, x = LocallyConnected(3, 4, (6, 7), 3), torch.randn(2, 3, 6, 7)
    before = layer(x)
    with torch.no_grad():
        layer.weight[[0, 3], [2, 4]] = layer.weight[[3, 0], [4, 2]]
        changed = (layer(x) != before).any(1).any(0)
    assert changed.nonzero().tolist() == [[0, 2], [3, 4]]


def test_each_place_applies_its_own_filter_and_bias():
    torch.manual_seed(0)
    layer = LocallyConnected(2, 3, (5, 6), 3, stride=2, padding=1).double()
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    for i, j in [(0, 0), (1, 2), (2, 1)]:
        window = padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        by_hand = (layer.weight[i, j] * window).sum((1, 2, 3)) + layer.bias.view(3, 3, 3)[:, i, j]
        torch.testing.assert_close(layer(x)[0, :, i, j], by_hand, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "size", "kernel", "stride", "side", "count"),
    [("L4", 63, 9, 1, 55, 62_774_800), ("L5", 55, 7, 2, 25, 7_850_000), ("L6", 25, 5, 1, 21, 2_829_456)],
)
def test_layers_of_deepface_have_their_published_sizes(name, size, kernel, stride, side, count):
    with torch.device("meta"):
        layer = LocallyConnected(16, 16, (size, size), kernel, stride=stride)
    assert layer.bias.shape == (16 * side**2,)
    assert sum(p.numel() for p in layer.parameters()) == count
    assert layer.weight.numel() == side**2 * nn.Conv2d(16, 16, kernel, device="meta").weight.numel()


def test_start_is_that_of_a_convolution():
    torch.manual_seed(0)
    layer = LocallyConnected(4, 8, (20, 20), 3)
    bound = 1 / 6  # 1 / sqrt(4 * 3 * 3)
    for values in (layer.weight, layer.bias):
        assert values.abs().max().item() <= bound
        assert values.var().item() == pytest.approx(bound**2 / 3, rel=0.05)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_layer_runs_in_half_precision_and_any_format(memory_format):
    torch.manual_seed(0)
    layer = LocallyConnected(4, 8, (6, 6), 3, padding=1)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=memory_format)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    torch.testing.assert_close(y.float(), layer(x), rtol=0.05, atol=0.05)
    assert all(g.isfinite().all() for g in torch.autograd.grad(y.float().sum(), list(layer.parameters())))


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"the input is \(7, 6\) and this layer was made for \(6, 7\) \(H, W\)"):
        LocallyConnected(3, 4, (6, 7), 3)(torch.zeros(1, 3, 7, 6))


def test_filter_larger_than_the_input_is_refused():
    with pytest.raises(ValueError, match=r"side 5 does not fit an input of \(6, 2\) \(H, W\) with padding 1"):
        LocallyConnected(3, 4, (6, 2), 5, padding=1)
