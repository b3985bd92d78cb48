"""Weights of networks that are trained from nothing are drawn as their source states."""

import pytest
import torch
from torch import nn

from unpool import models


@pytest.mark.parametrize(
    ("name", "options", "part"),
    [
        ("unet_valid", {"width": 16}, ""),
        ("fpn", {"backbone": "resnet18", "width": 32, "num_classes": 2}, "head"),
    ],
)
def test_convolutions_keep_the_variance_of_what_a_relu_lets_through(name, options, part):
    torch.manual_seed(0)
    layers = models.build(name, **options).get_submodule(part).modules()
    weights = [m.weight.detach() for m in layers if isinstance(m, nn.Conv2d) and m.weight.numel() > 4000]
    spreads = [float(weight.std() * weight[0].numel() ** 0.5) for weight in weights]
    assert len(spreads) > 3
    assert all(abs(value - 2**0.5) < 0.1 for value in spreads)  # He et al. 2015; torch's default gives 0.58


def test_weights_of_the_dense_autoencoder_are_drawn_after_glorot():
    torch.manual_seed(0)
    network = models.build("denoising_autoencoder", width=32)
    for layer in (network.encoder, network.decoder):
        outputs, inputs = layer.weight.shape
        bound = (6 / (inputs + outputs)) ** 0.5
        assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
        assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)
