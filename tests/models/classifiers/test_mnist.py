"""The lecture's two networks, layer by layer."""

import pytest
import torch

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.cost import macs


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


@pytest.mark.parametrize("name", ["mlp", "mnist_convnet"])
def test_weights_start_with_variance_two_over_fan_in(name):
    torch.manual_seed(0)
    for weight in models.build(name).parameters():
        if weight.dim() > 1:
            tolerance = 6 * (2 / weight.numel()) ** 0.5  # six standard errors of a sample variance
            assert weight.square().mean().item() == pytest.approx(2 / weight[0].numel(), rel=tolerance)
        else:
            assert not weight.any()


def test_perceptron_without_hidden_layers_is_linear():
    torch.manual_seed(0)
    model = models.build("mlp", widths=[])
    a, b = torch.rand(2, 1, 1, 28, 28)
    zero = model(torch.zeros_like(a))
    torch.testing.assert_close(model(a + b) - zero, model(a) + model(b) - 2 * zero, rtol=1e-4, atol=1e-5)


def test_perceptron_has_an_activation_after_each_hidden_layer():
    kinds = [type(m).__name__ for m in models.build("mlp", widths=[4, 3]).hidden]
    assert kinds == ["Linear", "ReLU", "Linear", "ReLU"]


def test_layers_of_the_convolutional_network_stand_in_the_lectures_order():
    model = models.build("mnist_convnet", width=2)
    kinds = [type(m).__name__ for m in model.features]
    conv, pool = ["Conv2d", "ReLU"], ["MaxPool2d"]
    assert kinds == conv + pool + conv + conv + pool + conv
    assert [type(m).__name__ for m in model.head][2:] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert model.head.drop.p == 0.5


def test_multiply_adds_are_those_of_a_hand_count():
    by_layer = 28**2 * 9 * 32, 2 * 14**2 * 9 * 32**2, 7**2 * 9 * 32**2, 7**2 * 32 * 512, 512 * 10
    with torch.device("meta"):
        assert macs(models.build("mnist_convnet"), (1, 28, 28)) == sum(by_layer) == 5_097_984
        assert macs(models.build("mlp"), (1, 28, 28)) == 784 * 512 + 512 * 512 + 512 * 10


@pytest.mark.parametrize("size_hw", [[28], [28, 28, 1]])
def test_size_of_images_must_be_two_numbers(size_hw):
    with pytest.raises(RecipeError, match=r"size_hw is \[28.*\]; give two numbers, the height and width"):
        models.build("mlp", size_hw=size_hw)
