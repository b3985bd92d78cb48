"""Two sizes, one set of weights, and the sizes of what comes out."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models import MODELS


def network(backbone="googlenet_bn", **options):
    torch.manual_seed(0)
    return models.build("fcgn", backbone=backbone, width=8, num_classes=3, **options)


def test_counts_by_hand():
    """GoogLeNet without its 1,025,000 of the last layer, maps of 832 and 1,024 channels, 14 joints."""
    body = MODELS["googlenet_bn"].params - 1_025_000
    joined = 832 + 1024
    up = 1024 * 1024 * 2 * 2 + 1024
    up_half = joined * joined * 2 * 2 + joined
    to_image = 2 * joined * 14 * 32 * 32 + 14
    assert MODELS["fcgn"].params == body + up + up_half + to_image


def test_multiply_adds_by_hand():
    """The body at 256 and at 128 pixels, then transposed convolutions at the sizes of their inputs."""
    body = (MODELS["googlenet_bn"].gmacs * 1e9 - 1_024_000) / 224**2
    joined = 832 + 1024
    up = 4 * 1024 * 1024 * (8**2 + 4**2)
    last = 4 * joined * joined * 8**2 + 2 * joined * 14 * 32**2 * 16**2
    assert MODELS["fcgn"].gmacs * 1e9 == pytest.approx(body * (256**2 + 128**2) + up + last, rel=1e-4)


@pytest.mark.parametrize("size_hw", [(64, 96), (160, 64), (67, 95), (73, 89), (65, 80)])
def test_answer_has_the_size_of_the_image(size_hw):
    assert network().eval()(torch.rand(1, 3, *size_hw)).shape == (1, 3, *size_hw)


def test_multiples_of_64_need_no_resizing():
    sizes, model = [], network().eval()
    for layer in (model.up, model.up_half, model.to_image):
        layer.register_forward_hook(lambda _, inputs, output: sizes.append((*inputs[0].shape[2:], *output.shape[2:])))
    model(torch.rand(1, 3, 64, 128))
    assert sizes == [(2, 4, 4, 8), (1, 2, 2, 4), (2, 4, 4, 8), (4, 8, 64, 128)]


def test_one_network_sees_the_image_and_its_half():
    model, seen = network().eval(), []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 64, 96)
    model(image)
    assert torch.equal(seen[0], image)
    torch.testing.assert_close(seen[1], nn.functional.interpolate(image, scale_factor=0.5, mode="bilinear"))
    assert [name for name, _ in model.named_children()] == ["backbone", "up", "up_half", "to_image"]


@pytest.mark.parametrize("size", ["whole", "half"])
def test_gradient_reaches_the_body_through_each_size(size):
    model = network()
    first = model.to_image.weight.shape[0] // 2
    kept = slice(first) if size == "whole" else slice(first, None)
    weight = torch.zeros_like(model.to_image.weight)
    weight[kept] = model.to_image.weight[kept].detach()
    model.to_image.weight.data = weight
    model(torch.rand(3, 3, 64, 128)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.backbone.parameters() if p.dim() > 1)
    assert bool(model.up_half.weight.grad.any()) == (size == "half")


def test_coarser_map_stands_behind_the_finer_one():
    model = network().eval()
    with torch.no_grad():
        model.up.weight.zero_()
        model.up.bias.fill_(7)
        image = torch.rand(1, 3, 64, 64)
        joined = model.join(image)
        torch.testing.assert_close(joined[:, : -model.up.out_channels], model.backbone(image)[3])
    assert (joined[:, -model.up.out_channels :] == 7).all()


@pytest.mark.parametrize("backbone", ["resnet18", "vgg11"])
def test_any_backbone_with_strides_16_and_32_carries_it(backbone):
    assert network(backbone).eval()(torch.rand(1, 3, 70, 90)).shape == (1, 3, 70, 90)


def test_backbone_without_these_strides_is_refused():
    with pytest.raises(RecipeError, match=r"strides \(1, 2, 4\); FCGN needs 16 and 32: choose googlenet_bn"):
        network("cifar_resnet20")
