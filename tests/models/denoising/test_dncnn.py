"""The noise is taken away, the field is the paper's."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.field_by_gradient import gradient_field


@pytest.mark.parametrize("name", ["dncnn_s", "dncnn_b"])
def test_network_that_finds_no_noise_gives_the_image_back(name):
    model = models.build(name, width=4)
    nn.init.zeros_(model.noise[-1].weight)
    image = torch.rand(2, 1, 11, 13)
    assert torch.equal(model(image), image)


@pytest.mark.parametrize("name", ["dncnn_s", "dncnn_b", "unet_regression"])
def test_first_answer_is_nearly_the_image(name):
    torch.manual_seed(0)
    model, image = models.build(name, width=16), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        off = (model(image) - image).square().mean().sqrt()
    assert 0 < off < 0.1 * 25 / 255, "a tenth of the noise that is to be found"


def test_noise_is_taken_away():
    torch.manual_seed(0)
    model, image = models.build("dncnn_s", width=4).eval(), torch.rand(1, 1, 11, 13)
    torch.testing.assert_close(model(image) + model.noise(image), image)


@pytest.mark.parametrize(("name", "field"), [("dncnn_s", 35), ("dncnn_b", 41)])
def test_field_is_two_pixels_a_layer_and_one(name, field):
    assert gradient_field(models.build(name, width=4), (1, 64, 4))[0] == field


def test_biases_stand_in_the_first_convolution_only():
    convs = [layer for layer in models.build("dncnn_s").noise.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.bias is not None for layer in convs] == [True] + 16 * [False]
    norms = [layer for layer in models.build("dncnn_s").noise.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 15


def test_colour_is_an_option():
    assert models.build("dncnn_b", width=4, in_channels=3, num_classes=3)(torch.rand(1, 3, 9, 9)).shape == (1, 3, 9, 9)


@pytest.mark.parametrize("name", ["dncnn_s", "unet_regression"])
def test_answer_must_have_the_channels_of_the_image(name):
    with pytest.raises(RecipeError, match=r"num_classes is 1 and in_channels 3; .* must be the same: give both"):
        models.build(name, width=4, in_channels=3)
