"""Parameters that would hide differences are filled, others are kept."""

import torch
from torch import nn

from unpool.tracing.probes import fill_zeros


def test_parameters_of_zeros_alone_are_filled():
    layer = nn.Conv2d(2, 3, 1)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(6.0).view(3, 2, 1, 1))  # a zero among others
    weight = layer.weight.clone()
    fill_zeros(layer)
    assert torch.equal(layer.weight, weight)
    assert layer.bias.all()
    assert len(layer.bias.unique()) == 3
