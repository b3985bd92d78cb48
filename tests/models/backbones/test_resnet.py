"""Counts between rows, scale at the start."""

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unpool import models
from unpool.inspection.field_by_formula import receptive_field
from unpool.inspection.field_by_gradient import gradient_field
from unpool.layers.conv import ConvNormAct
from unpool.layers.residual import Residual
from unpool.models import BACKBONES, MODELS
from unpool.models.backbones.resnet import plain


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110, 1202])
def test_plain_and_option_a_have_the_same_parameters(layers):
    assert MODELS[f"cifar_plain{layers}"].params == MODELS[f"cifar_resnet{layers}"].params


def test_option_b_adds_two_projections_at_every_depth():
    added = {MODELS[f"cifar_resnet{n}_b"].params - MODELS[f"cifar_resnet{n}"].params for n in (20, 32, 44, 56, 110)}
    assert added == {2_752}


def test_plain_network_has_no_path_around_its_convolutions():
    torch.manual_seed(0)
    model = models.build("cifar_plain20", width=4).eval()
    model.backbone.stages[1][0][0].conv.weight.data.zero_()
    with torch.no_grad():
        logits = model(torch.rand(3, 3, 32, 32))
    torch.testing.assert_close(logits[0], logits[1])


def test_residual_network_still_sees_the_image_when_a_branch_is_dead():
    torch.manual_seed(0)
    model = models.build("cifar_resnet20", width=4).eval()
    for stage in model.backbone.stages:
        for block in stage:
            block.branch[1].norm.weight.data.zero_()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, 32, 32))
    assert not torch.allclose(logits[0], logits[1])


def test_plain_block_is_rectified_like_the_residual_one():
    torch.manual_seed(0)
    block, x = plain(4, 8, 2).eval(), torch.randn(2, 4, 6, 6)
    first, second, _ = block
    assert torch.equal(block(x), second(first(x)).relu())


OF_HE = [
    "resnet18",
    "resnet50_deep",
    "cifar_plain20",
    "preresnet110",
    "preresnet50",
    "vgg11",
    "vgg16_bn",
    "googlenet_bn",
]


@pytest.mark.parametrize("name", OF_HE)
def test_convolutions_start_with_variance_two_over_fan_out_and_no_bias(name):
    torch.manual_seed(0)
    for module in BACKBONES[name].build(width=16).modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight
            fan_out = weight.shape[0] * weight[0, 0].numel()
            tolerance = 6 * (2 / weight.numel()) ** 0.5  # six standard errors of a sample variance
            assert weight.square().mean().item() == pytest.approx(2 / fan_out, rel=tolerance)
            assert module.bias is None or not module.bias.any()


def test_maps_of_224_have_the_papers_sizes():
    with torch.device("meta"):
        maps = BACKBONES["resnet50"].build()(torch.empty(1, 3, 224, 224))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)
    ]  # fmt: skip


@pytest.mark.parametrize("layers", [50, 101])
def test_deep_stem_adds_three_convolutions_less_one_and_widens_the_first_block(layers):
    seven, three = 3 * 64 * 49 + 2 * 64, 9 * (3 * 64 + 64 * 64 + 64 * 128) + 2 * (64 + 64 + 128)
    block = 64 * (64 + 256)  # 64 more channels into its first convolution and its shortcut
    assert MODELS[f"resnet{layers}_deep"].params - MODELS[f"resnet{layers}"].params == three - seven + block


def test_deep_stem_halves_the_image_in_its_first_convolution():
    stem = BACKBONES["resnet50_deep"].build(width=4).stem
    assert [(conv.conv.out_channels, conv.conv.stride[0]) for conv in stem] == [(4, 2), (4, 1), (8, 1)]


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("resnet18", 435), ("resnet34", 899), ("plain18", 435)),
        *(("resnet50", 427), ("resnet101", 971), ("resnet152", 1451)),
        *(("resnet50_v1", 483), ("resnet101_v1", 1027), ("resnet152_v1", 1507)),
    ],
)
def test_receptive_field_depends_on_where_the_stride_stands(name, size):
    with torch.device("meta"):
        model = models.build(name, width=2)
    assert receptive_field(model, (3, 224, 224), "backbone.stages.3") == ((size, size), (32, 32))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("resnet18", 435), ("resnet50", 427), ("resnet50_v1", 483)])
def test_gradient_shows_the_same_receptive_field(name, size):
    assert gradient_field(models.build(name, width=2), (3, 640, 32), "backbone.stages.3")[0] == size


@pytest.mark.parametrize(("size", "side"), [(224, 7), (256, 8), (384, 12), (480, 15), (640, 20)])
def test_last_map_has_the_papers_size_at_each_of_its_five_scales(size, side):
    with torch.device("meta"):
        last = BACKBONES["resnet50"].build(width=2)(torch.empty(1, 3, size, size))[-1]
    assert last.shape[2:] == (side, side)


@pytest.mark.parametrize("name", ["resnet18_c", "resnet50_v1", "cifar_resnet20_b", "plain18"])
def test_norms_fold_into_the_convolutions_before_them(name):
    torch.manual_seed(0)
    model, image = models.build(name, width=4).double(), torch.rand(4, 3, 64, 64, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        model(image)  # statistics that are not 0 and 1
        expected = model.eval()(image)
        for module in model.modules():
            if isinstance(module, ConvNormAct):
                module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        torch.testing.assert_close(model(image), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "units"), [("cifar_resnet110", 54), ("resnet50", 16), ("resnet152", 50)])
def test_depth_is_that_of_the_name(name, units):
    """ResNet-110 has the 54 units, and so 2 ** 54 paths, of Veit et al. 2016 (arXiv:1605.06431)."""
    with torch.device("meta"):
        assert sum(isinstance(m, Residual) for m in BACKBONES[name].build(width=2).modules()) == units
