"""Switches lead the decoder."""

import torch
from torch import nn

from unpool import models
from unpool.models.segmentation.segnet import SwitchedAutoencoder


def test_switches_of_another_image_change_the_answer():
    torch.manual_seed(0)
    model = models.build("segnet", width=4).eval()
    image, other = torch.rand(2, 1, 3, 40, 56)
    with torch.no_grad():
        alone = model(image)
        true_pool = model.body.pool.forward
        switches = []
        model.body.pool.register_forward_hook(lambda _, inputs, output: switches.append(output[1]))
        model(other)
        model.body.pool.forward = lambda x: (true_pool(x)[0], switches.pop(0))
        model.body.pool._forward_hooks.clear()
        assert not torch.allclose(model(image), alone)


def test_stages_without_weights_keep_the_maxima_in_their_places():
    body = SwitchedAutoencoder([nn.Identity() for _ in range(3)], [nn.Identity() for _ in range(3)])
    torch.manual_seed(0)
    x = torch.rand(2, 3, 37, 44)
    y = body(x)
    coarsest = nn.functional.max_pool2d(x, 8, ceil_mode=True)
    assert int(y.count_nonzero()) == coarsest.numel()
    assert torch.equal(y[y != 0], x[y != 0])


def test_sizes_are_those_of_the_paper():
    with torch.device("meta"):
        model = models.build("segnet").eval()
        sizes = []
        model.body.pool.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output[0].shape[1:])))
        model(torch.empty(1, 3, 360, 480))
    assert sizes == [(64, 180, 240), (128, 90, 120), (256, 45, 60), (512, 23, 30), (512, 12, 15)]


def test_basic_has_no_activation_in_its_decoder():
    model = models.build("segnet_basic", width=4)
    assert not [m for m in model.body.decoder.modules() if isinstance(m, nn.ReLU)]
    assert len([m for m in model.body.encoder.modules() if isinstance(m, nn.ReLU)]) == 4


def test_last_convolution_of_segnet_has_no_norm_and_no_activation():
    assert isinstance(list(models.build("segnet", width=4).modules())[-3], nn.Conv2d)
