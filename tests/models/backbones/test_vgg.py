"""Sizes, kernels, and what is refused."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.inspection.field_by_formula import receptive_field
from unpool.models import BACKBONES


def test_third_convolutions_of_column_c_are_pointwise():
    stages = BACKBONES["vgg16_c"].build(width=4).stages
    assert [[layer.conv.kernel_size[0] for layer in stage] for stage in stages] == [
        [3, 3], [3, 3], [3, 3, 1], [3, 3, 1], [3, 3, 1]
    ]  # fmt: skip


def test_maps_are_taken_before_the_pooling_and_once_after_the_last():
    backbone = BACKBONES["vgg11"].build(width=4).eval()
    maps = backbone(torch.rand(1, 3, 64, 64))
    assert torch.equal(maps[-1], nn.functional.max_pool2d(maps[-2], 2))
    assert torch.equal(maps[1], backbone.stages[1](nn.functional.max_pool2d(maps[0], 2)))


def test_image_too_small_to_halve_five_times_is_refused():
    with pytest.raises(ValueError, match=r"\(31, 40\) \(H, W\); VGG halves it five times: give 32 or more"):
        models.build("vgg11", width=4)(torch.rand(1, 3, 31, 40))


def test_weights_without_biases_are_the_lectures_total():
    with torch.device("meta"):
        model = models.build("vgg16")
    assert sum(p.numel() for p in model.parameters() if p.dim() > 1) == 138_344_128


def test_dropout_stands_only_after_the_two_hidden_layers():
    kinds = [type(m).__name__ for m in models.build("vgg11", width=4).head]
    assert kinds[2:] == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]


def test_linear_layers_start_from_a_deviation_of_a_hundredth():
    torch.manual_seed(0)
    for layer in models.build("vgg11", width=4).head:
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
            assert not layer.bias.any()


def test_column_a_lrn_normalises_the_first_map_and_has_the_weights_of_column_a():
    torch.manual_seed(0)
    plain, normalised = (BACKBONES[name].build(width=8).eval() for name in ("vgg11", "vgg11_lrn"))
    normalised.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 32, 40) * 100
    first = nn.functional.local_response_norm(plain(image)[0], 5, alpha=5e-4, beta=0.75, k=2.0)
    maps = normalised(image)
    torch.testing.assert_close(maps[0], first)
    torch.testing.assert_close(maps[1], plain.stages[1](nn.functional.max_pool2d(first, 2)))


@pytest.mark.parametrize(("size", "side"), [(224, 1), (256, 2), (384, 6)])
def test_linear_layers_are_convolutions_that_slide_over_larger_images(size, side):
    torch.manual_seed(0)
    model = models.build("vgg11", width=2, num_classes=5).eval()
    head = model.head
    with torch.no_grad():
        x = last = model.backbone(torch.rand(1, 3, size, size))[-1]
        for layer, kernel in ((head.fc6, 7), (head.fc7, 1), (head.fc8, 1)):
            x = x if layer is head.fc6 else x.relu()
            x = nn.functional.conv2d(x, layer.weight.unflatten(1, (-1, kernel, kernel)), layer.bias)
        assert x.shape == (1, 5, side, side)
        corner = head(last[..., -7:, -7:])
    torch.testing.assert_close(x[..., -1, -1], corner, rtol=1e-4, atol=1e-5 * corner.abs().max().item())


@pytest.mark.parametrize(("layer", "size"), [("backbone.pool", 212), ("head.fc6", 404)])
def test_receptive_field_of_vgg16_is_the_published_one(layer, size):
    with torch.device("meta"):
        model = models.build("vgg16", width=2)
    assert receptive_field(model, (3, 224, 224), layer) == ((size, size), (32, 32))
