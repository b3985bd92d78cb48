"""The lecture's two networks, layer by layer."""

import torch

from unpool import models


def counts(model):
    return [sum(p.numel() for p in m.parameters()) for m in model.modules() if not list(m.children())]


def test_convolutional_network_has_the_lectures_layers():
    with torch.device("meta"):
        model = models.build("mnist_convnet")
    assert [n for n in counts(model) if n] == [320, 9_248, 9_248, 9_248, 803_328, 5_130]


def test_perceptron_has_the_widths_it_is_given():
    with torch.device("meta"):
        model = models.build("mlp", widths=[3], size_hw=[4, 5], in_channels=2, num_classes=6)
    assert [n for n in counts(model) if n] == [2 * 20 * 3 + 3, 3 * 6 + 6]


def test_perceptron_without_hidden_layers_is_linear():
    torch.manual_seed(0)
    model = models.build("mlp", widths=[])
    a, b = torch.rand(2, 1, 1, 28, 28)
    zero = model(torch.zeros_like(a))
    torch.testing.assert_close(model(a + b) - zero, model(a) + model(b) - 2 * zero, rtol=1e-4, atol=1e-5)


def test_perceptron_has_an_activation_after_each_hidden_layer():
    kinds = [type(m).__name__ for m in models.build("mlp", widths=[4, 3]).hidden]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU"]
