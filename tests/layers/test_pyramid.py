"""Scales of a map side by side, and maps of several scales."""

import pytest
import torch
from torch import nn

from unpool.layers.conv import ConvNormAct
from unpool.layers.pyramid import ASPP, ConvolvedLevels, FeaturePyramid, PooledLevel, PyramidPooling, set_rate

RESNET50 = (256, 512, 1024, 2048)


def test_rate_spreads_the_taps_as_zeros_between_them_would():
    torch.manual_seed(0)
    x, conv = torch.rand(1, 2, 13, 11), nn.Conv2d(2, 3, 3, padding=1)
    stuffed = torch.zeros(3, 2, 7, 7)
    stuffed[..., ::3, ::3] = conv.weight.detach()
    set_rate(conv, 3)
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, stuffed, conv.bias, padding=3))


def test_rate_as_large_as_the_map_leaves_the_middle_tap():
    torch.manual_seed(0)
    x, aspp = torch.rand(2, 3, 8, 6), ASPP(3, 4, rates=(8,)).eval()
    conv = aspp.branches[1]
    middle = nn.functional.conv2d(x, conv[0].weight[..., 1:2, 1:2])
    torch.testing.assert_close(conv(x), nn.functional.relu(conv[1](middle)))


def test_branches_stand_in_the_papers_order():
    torch.manual_seed(0)
    x, aspp = torch.rand(2, 3, 8, 6), ASPP(3, 4, rates=(1, 2)).eval()
    out = aspp(x)
    assert out.shape == (2, 16, 8, 6)
    torch.testing.assert_close(out[:, :4], aspp.branches[0](x))
    torch.testing.assert_close(out[:, 8:12], aspp.branches[2](x))
    average = aspp.average[1](x.mean(dim=(2, 3), keepdim=True))
    torch.testing.assert_close(out[:, 12:], average.expand(2, 4, 8, 6))


def test_constant_map_gives_constant_grids():
    torch.manual_seed(0)
    psp = PyramidPooling(4, 2, bins=(1, 2, 3, 6)).eval()
    out = psp(torch.rand(2, 4, 1, 1).expand(2, 4, 13, 9))
    assert out.shape == (2, 12, 13, 9)
    torch.testing.assert_close(out, out[..., :1, :1].expand_as(out))


def test_grids_stand_after_the_map_with_corners_on_corners():
    """Thirteen rows hold those of a grid of four at rows 0, 4, 8 and 12."""
    torch.manual_seed(0)
    psp, x = PyramidPooling(3, 2, bins=(4,)).eval(), torch.rand(2, 3, 13, 13)
    out = psp(x)
    assert torch.equal(out[:, :3], x)
    grid = psp.grids[0][1](nn.functional.adaptive_avg_pool2d(x, 4))
    torch.testing.assert_close(out[:, 3:, ::4, ::4], grid)


def test_neck_on_resnet50_has_the_published_count():
    with torch.device("meta"):
        assert sum(p.numel() for p in FeaturePyramid(RESNET50).parameters()) == 3_344_384


def test_finest_map_is_the_coarsest_where_the_other_laterals_are_silent():
    torch.manual_seed(0)
    neck = FeaturePyramid((2, 3, 4, 5), 6)
    maps = [torch.rand(1, c, 32 // 2**i, 48 // 2**i) for i, c in enumerate((2, 3, 4, 5))]
    for lateral in list(neck.lateral)[:3]:
        nn.init.zeros_(lateral.weight)
    p2 = neck(maps)[0]
    raised = neck.lateral[3](maps[3]).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    torch.testing.assert_close(p2, neck.smooth[0](raised))


def test_every_map_reaches_the_finer_ones_only():
    torch.manual_seed(0)
    neck = FeaturePyramid((2, 3, 4), 6)
    for place in range(3):
        maps = [torch.rand(1, c, 8 // 2**i, 8 // 2**i, requires_grad=True) for i, c in enumerate((2, 3, 4))]
        neck(maps)[place].sum().backward()
        assert [m.grad is not None for m in maps] == [i >= place for i in range(3)]


def test_odd_sizes_are_those_of_the_maps():
    neck = FeaturePyramid((2, 3, 4), 6)
    maps = [torch.rand(1, 2, 9, 13), torch.rand(1, 3, 5, 7), torch.rand(1, 4, 2, 3)]
    assert [tuple(m.shape) for m in neck(maps)] == [(1, 6, 9, 13), (1, 6, 5, 7), (1, 6, 2, 3)]


@pytest.mark.parametrize(("size", "half"), [(7, 4), (8, 4)])
def test_pooled_level_is_every_second_pixel_of_the_coarsest(size, half):
    maps = (torch.rand(1, 2, 2 * size, 2 * size), torch.rand(1, 2, size, size))
    *kept, last = PooledLevel()(maps)
    assert all(torch.equal(a, b) for a, b in zip(kept, maps, strict=True))
    assert last.shape[-1] == half
    assert torch.equal(last, maps[1][..., ::2, ::2])


def test_neck_has_neither_norm_nor_activation():
    kinds = {type(m) for m in FeaturePyramid((2, 3), 4).modules()}
    assert kinds == {FeaturePyramid, nn.ModuleList, nn.Conv2d}
    assert ConvNormAct not in kinds


def test_convolved_levels_halve_the_coarsest_map_and_the_second_reads_the_first_rectified():
    torch.manual_seed(0)
    levels, maps = ConvolvedLevels(3), (torch.rand(1, 3, 10, 14), torch.rand(1, 3, 5, 7))
    *kept, p6, p7 = levels(maps)
    assert all(a is b for a, b in zip(kept, maps, strict=True))
    assert (p6.shape[2:], p7.shape[2:]) == ((3, 4), (2, 2))
    torch.testing.assert_close(p6, levels.p6(maps[1]))
    torch.testing.assert_close(p7, levels.p7(p6.clamp(min=0)))
