"""Rates: of the pyramid, and of the last stage's blocks."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.segmentation.deeplab import apply_multi_grid


def rates_of(blocks):
    """Rates of the convolutions wider than one pixel, block by block."""
    return [
        [m.dilation[0] for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1]
        for block in blocks
    ]


@pytest.mark.parametrize(("output_stride", "unit"), [(8, 4), (16, 2), (32, 1)])
def test_multi_grid_is_in_units_of_the_last_stages_rate(output_stride, unit):
    model = models.build("deeplabv3", backbone="resnet50", width=4, output_stride=output_stride)
    *_, third, last = model.backbone.stages
    assert rates_of(last) == [[unit], [2 * unit], [4 * unit]]
    assert rates_of(third)[-1] == [max(unit // 2, 1)]


def test_multi_grid_of_two_blocks_takes_the_first_two_numbers():
    model = models.build("deeplabv3", backbone="resnet18", width=4)
    assert rates_of(model.backbone.stages[-1]) == [[2, 2], [4, 4]]


def test_multi_grid_keeps_the_size_of_the_map():
    model = models.build("deeplabv3", backbone="resnet50", width=4).eval()
    assert [m.shape[2:] for m in model.backbone(torch.rand(1, 3, 65, 97))][-2:] == [(5, 7), (5, 7)]


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_pyramid_reaches_as_far_in_the_image_at_every_output_stride(output_stride, rates):
    model = models.build("deeplabv3", backbone="resnet18", width=4, head_width=4, output_stride=output_stride)
    assert [branch[0].dilation[0] for branch in model.head.pyramid.branches[1:]] == rates


def test_torchvisions_rows_have_its_rates_and_no_multi_grid():
    model = models.build("deeplabv3_resnet50", width=4, head_width=4)
    assert [branch[0].dilation[0] for branch in model.head.pyramid.branches[1:]] == [12, 24, 36]
    assert rates_of(model.backbone.stages[-1]) == [[2], [4], [4]]


def test_paper_head_on_resnet50_has_the_published_count():
    with torch.device("meta"):
        model = models.build("deeplabv3", backbone="resnet50", output_stride=32)
    assert sum(p.numel() for p in model.parameters()) == 39_048_533


def test_backbone_without_stages_of_blocks_is_refused_a_multi_grid():
    with pytest.raises(
        RecipeError, match=r"multi_grid is \[1, 2\] and Linear has no last stage of blocks: set it to \[1\]"
    ):
        apply_multi_grid(nn.Linear(2, 2), (1, 2))


def test_backbone_without_blocks_gets_no_multi_grid_unless_asked_for():
    pytest.importorskip("timm")
    given = {"backbone": "timm/resnet10t", "num_classes": 3, "head_width": 4}
    model = models.build("deeplabv3", **given)
    assert {m.dilation[0] for m in model.backbone.modules() if isinstance(m, nn.Conv2d)} == {1, 2}
    with pytest.raises(RecipeError, match=r"multi_grid is \[1, 2, 4\] and .* has no last stage of blocks"):
        models.build("deeplabv3", **given, multi_grid=[1, 2, 4])


def test_multi_grid_of_one_leaves_the_blocks_as_they_were():
    model = models.build("deeplabv3", backbone="resnet50", width=4, multi_grid=[1])
    assert rates_of(model.backbone.stages[-1]) == [[1], [2], [2]]
