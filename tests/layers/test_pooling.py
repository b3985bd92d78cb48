"""Switched pooling and its way back, against torch's own operators and by hand."""

import pytest
import torch
from torch import nn

from unpool.layers.pooling import MaxPoolSwitches, MaxUnpool, max_unpool

FORMATS = [torch.contiguous_format, torch.channels_last]


def distinct(shape, memory_format=torch.contiguous_format, dtype=torch.float32):
    """Random values of which no two are equal, so that every maximum has one place."""
    torch.manual_seed(0)
    count = torch.Size(shape).numel()
    values = (torch.randperm(count) + 1).view(shape).to(torch.float64)
    return (values / (256 if dtype == torch.bfloat16 else count)).to(dtype).contiguous(memory_format=memory_format)


@pytest.mark.parametrize("size_hw", [(8, 12), (7, 9), (1, 5)])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_unpooled_maxima_stand_where_they_were_and_nowhere_else(size_hw, memory_format):
    x = distinct((2, 3, *size_hw), memory_format)
    pooled, switches = MaxPoolSwitches()(x)
    back = MaxUnpool()(pooled, switches, size_hw)
    assert back.shape == x.shape
    assert int(back.count_nonzero()) == pooled.numel()
    assert torch.equal(back[back != 0], x[back != 0])
    assert torch.equal(MaxPoolSwitches()(back)[0], pooled)


def test_pooling_by_hand():
    x = torch.tensor([[1.0, 2.0, 0.0], [4.0, 3.0, 9.0], [5.0, 6.0, -1.0]]).view(1, 1, 3, 3)
    pooled, switches = MaxPoolSwitches()(x)
    assert pooled.flatten().tolist() == [4.0, 9.0, 6.0, -1.0]
    assert switches.flatten().tolist() == [3, 5, 7, 8]
    back = max_unpool(torch.tensor([10.0, 20.0, 30.0, 40.0]).view(1, 1, 2, 2), switches, (3, 3))
    assert back.flatten().tolist() == [0, 0, 0, 10, 0, 20, 0, 30, 40]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("gradient_format", FORMATS)
def test_unpooling_has_the_gradient_of_torch(dtype, memory_format, gradient_format):
    pooled, switches = MaxPoolSwitches()(distinct((2, 3, 7, 10), memory_format, dtype))
    gradient = torch.randn(2, 3, 7, 10).to(dtype).contiguous(memory_format=gradient_format)
    ours = pooled.clone(memory_format=torch.preserve_format).requires_grad_()
    torchs = pooled.clone(memory_format=torch.preserve_format).requires_grad_()
    max_unpool(ours, switches, (7, 10)).backward(gradient)
    nn.functional.max_unpool2d(torchs, switches, 2, output_size=(7, 10)).backward(gradient)
    assert torch.equal(ours.grad, torchs.grad)


def test_unpooling_can_be_differentiated_twice():
    pooled, switches = MaxPoolSwitches()(distinct((1, 2, 4, 4), dtype=torch.float64))
    x = pooled.clone().requires_grad_()
    torch.autograd.gradcheck(lambda v: max_unpool(v, switches, (4, 4)), (x,))
    torch.autograd.gradgradcheck(lambda v: max_unpool(v, switches, (4, 4)) ** 2, (x,))


def test_channels_last_goes_through_both_ways():
    pooled, switches = MaxPoolSwitches()(distinct((2, 8, 6, 6), torch.channels_last))
    x = pooled.clone(memory_format=torch.preserve_format).requires_grad_()
    back = max_unpool(x, switches, (6, 6))
    assert back.is_contiguous(memory_format=torch.channels_last)
    back.backward(torch.randn(2, 8, 6, 6).contiguous(memory_format=torch.channels_last))
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
