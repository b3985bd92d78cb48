"""The effective receptive field against theory: Gaussians, sums of uniform kernels, and what cannot be measured."""

import numpy as np
import pytest
import torch
from torch import nn

from unpool.inspection.field_by_weights import _gaussian, effective_field


def uniform(layers, side=61):
    mean = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.constant_(mean.weight, 1 / 9)
    return effective_field(nn.Sequential(*[mean] * layers), [torch.rand(1, 1, side, side)])


def test_fit_of_a_gaussian_gives_its_centre_and_deviation():
    centre, sigma = _gaussian(3 * np.exp(-((np.arange(50) - 20.3) ** 2) / (2 * 4.2**2)))
    assert (centre, sigma) == (pytest.approx(20.3), pytest.approx(4.2))


def test_fit_of_what_rises_to_the_edges_is_none():
    assert _gaussian((np.arange(21) - 10.0) ** 2 + 1) == (None, None)


@pytest.mark.parametrize("layers", [8, 20])
def test_uniform_kernels_give_the_deviation_of_the_papers_section_2(layers):
    field = uniform(layers)
    assert field.sigma == (pytest.approx((layers * (3**2 - 1) / 12) ** 0.5, rel=0.03),) * 2
    assert field.centre == (pytest.approx(30), pytest.approx(30))
    assert field.radius == pytest.approx(2 * field.sigma[0])


def test_field_grows_with_the_root_of_the_depth_and_not_with_the_depth():
    assert uniform(24).sigma[0] / uniform(6).sigma[0] == pytest.approx(2, rel=0.05)


def test_weights_and_images_decide_the_field():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 5, padding=2), nn.ReLU(), nn.Conv2d(3, 2, 5, padding=2))
    images = torch.rand(2, 1, 2, 20, 24)
    both = effective_field(model, images)
    single = [effective_field(model, image[None]) for image in images]
    summed = torch.zeros(20, 24, dtype=torch.float64)
    for image in images:
        shown = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(shown)[0, :, 10, 12].sum(), shown)
        summed += gradient[0].abs().sum(0)
    assert torch.allclose(both.gradient, summed / summed.max())
    assert not torch.allclose(single[0].gradient, single[1].gradient)
    assert both.images == 2


def test_measuring_a_field_leaves_modes_hooks_and_gradients():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1))
    model.train()
    effective_field(model, [torch.rand(1, 1, 9, 9)])
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert model[1].num_batches_tracked == 0


def test_layers_without_a_map_and_positions_outside_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten())
    image = torch.rand(1, 1, 9, 9)
    with pytest.raises(ValueError, match=r"the output of 'the network' is \(1, 49\); expected a map"):
        effective_field(model, [image])
    with pytest.raises(ValueError, match=r"position \(7, 0\) lies outside of the output of 7 x 7"):
        effective_field(model, [image], "0", position=(7, 0))
    with pytest.raises(ValueError, match="no layer '2' ran"):
        effective_field(model, [image], "2")
    with pytest.raises(ValueError, match="there is no image"):
        effective_field(model, [], "0")
