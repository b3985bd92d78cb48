"""Counts between rows, scale at the start."""

import pytest
import torch

from unpool import models
from unpool.models import BACKBONES, MODELS


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110])
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


def test_stem_starts_with_variance_two_over_fan_out():
    torch.manual_seed(0)
    weight = BACKBONES["resnet18"].build().stem.conv.weight
    assert weight.var().item() == pytest.approx(2 / (64 * 49), rel=0.1)


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
