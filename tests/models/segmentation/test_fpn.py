"""Which maps are read, and how they are added."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.segmentation.fpn import SemanticHead


def grow(x, like):
    return nn.functional.interpolate(x, scale_factor=2, mode="bilinear")[..., : like.shape[-2], : like.shape[-1]]


def test_head_has_the_published_count():
    with torch.device("meta"):
        head = SemanticHead(4, 256, num_classes=19, width=128)
    assert sum(p.numel() for p in head.parameters()) == 1_626_259


def test_level_has_a_convolution_for_each_doubling():
    head = SemanticHead(4, 6, num_classes=2, width=4)
    assert [len(steps) for steps in head.steps] == [1, 1, 2, 3]


@pytest.mark.parametrize("sizes", [[(32, 48), (16, 24), (8, 12), (4, 6)], [(9, 13), (5, 7), (3, 4), (2, 2)]])
def test_levels_are_doubled_step_by_step_and_added(sizes):
    torch.manual_seed(0)
    head, maps = SemanticHead(4, 4, num_classes=2, width=4), [torch.rand(1, 4, *size) for size in sizes]
    head.steps = nn.ModuleList(nn.ModuleList(nn.Identity() for _ in steps) for steps in head.steps)
    head.classify = nn.Identity()
    p2, p3, p4, p5 = maps
    expected = p2 + grow(p3, p2) + grow(grow(p4, p3), p2) + grow(grow(grow(p5, p4), p3), p2)
    torch.testing.assert_close(head(maps), expected)


def test_maps_at_strides_four_to_thirty_two_are_read_and_no_others():
    torch.manual_seed(0)
    model = models.build("fpn", backbone="vgg11", width=8, neck_width=8, head_width=8, num_classes=2).eval()
    maps = [m.detach().requires_grad_() for m in model.backbone(torch.rand(1, 3, 64, 64))]
    model.backbone.forward = lambda image: tuple(maps)
    model(torch.rand(1, 3, 64, 64)).sum().backward()
    assert [m.grad is not None for m in maps] == [False, False, True, True, True, True]


def test_backbone_without_coarse_maps_is_refused():
    with pytest.raises(RecipeError, match=r"fpn reads .* 4, 8, 16, 32, .* has none at 8, 16, 32 \(it has 1, 2, 4\)"):
        models.build("fpn", backbone="cifar_resnet20", width=4)


@pytest.mark.parametrize(("width", "groups"), [(256, 32), (128, 32), (48, 4), (8, 2), (7, 1)])
def test_norm_has_thirty_two_groups_or_as_many_as_leave_each_four_channels(width, groups):
    head = SemanticHead(2, 8, num_classes=2, width=width)
    assert {m.num_groups for m in head.modules() if isinstance(m, nn.GroupNorm)} == {groups}
