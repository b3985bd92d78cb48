"""Two streams: one keeps its size, the other reads and feeds it."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.models.segmentation.frrn import FullResolutionUnit, ResidualUnit

NAMES = ("frrn_a", "frrn_b")
# Table 1 of the paper: factor and channels of each unit, in multiples of the base width
TABLE = {
    "frrn_a": 3 * [(2, 2)] + 4 * [(4, 4)] + 2 * [(8, 8)] + 2 * [(16, 8)] + 2 * [(8, 4)] + 2 * [(4, 4)] + 2 * [(2, 2)],
    "frrn_b": 3 * [(2, 2)] + 4 * [(4, 4)] + 2 * [(8, 8)] + 2 * [(16, 8)] + 2 * [(32, 8)]
    + 2 * [(16, 4)] + 2 * [(8, 4)] + 2 * [(4, 4)] + 2 * [(2, 2)],
}  # fmt: skip


def network(name):
    torch.manual_seed(0)
    return models.build(name, width=4, lanes=3, num_classes=2).eval()


def units(model):
    return [m for m in model.modules() if isinstance(m, FullResolutionUnit)]


@pytest.mark.parametrize("name", NAMES)
def test_units_are_those_of_the_papers_table(name):
    found = [(unit.pool.kernel_size, unit.to_lanes.in_channels // 4) for unit in units(network(name))]
    assert found == TABLE[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (37, 51)])
def test_residual_stream_passes_bit_by_bit_where_no_unit_adds(name, size):
    model = network(name)
    for unit in units(model):
        nn.init.zeros_(unit.to_lanes.weight)
    seen = []
    model.split.register_forward_hook(lambda _, inputs, output: seen.append(output))
    model.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, -3:]))
    with torch.no_grad():
        model(torch.rand(1, 3, *size))
    assert torch.equal(*seen)


@pytest.mark.parametrize("name", NAMES)
def test_residual_stream_keeps_its_size_and_the_other_shrinks_by_the_units_factor(name):
    model, shapes = network(name), []
    for unit in units(model):
        unit.register_forward_hook(lambda unit, inputs, output: shapes.append((unit, *(x.shape[2:] for x in output))))
    with torch.no_grad():
        model(torch.rand(1, 3, 37, 51))
    for unit, pooled, residual in shapes:
        factor = unit.pool.kernel_size
        assert tuple(residual) == (37, 51)
        assert tuple(pooled) == (-(-37 // factor), -(-51 // factor))


def test_unit_reads_the_largest_residual_of_each_cell_after_the_pooled_stream():
    torch.manual_seed(0)
    unit = FullResolutionUnit(4, 5, lanes=3, factor=4).eval()
    pooled, residual, seen = torch.rand(2, 4, 3, 4), torch.rand(2, 3, 11, 13), []
    unit.convs.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    unit(pooled, residual)
    filled = nn.functional.pad(residual, (0, 3, 0, 1), value=-1)
    cells = filled.unfold(2, 4, 4).unfold(3, 4, 4).amax(dim=(-2, -1))
    assert torch.equal(seen[0], torch.cat([pooled, cells], dim=1))


def test_unit_adds_one_value_to_all_pixels_of_a_cell():
    torch.manual_seed(0)
    unit = FullResolutionUnit(4, 5, lanes=3, factor=4).eval()
    pooled, residual = torch.rand(2, 4, 3, 4), torch.rand(2, 3, 11, 13)
    with torch.no_grad():
        after, sent = unit(pooled, residual)
        cells = unit.to_lanes(after).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)[..., :11, :13]
    torch.testing.assert_close(sent, residual + cells)


def test_what_a_unit_adds_has_a_bias_and_neither_norm_nor_activation():
    unit = FullResolutionUnit(4, 5, lanes=3, factor=2)
    assert type(unit.to_lanes) is nn.Conv2d
    assert unit.to_lanes.bias is not None


def test_sum_of_a_residual_unit_is_not_rectified():
    torch.manual_seed(0)
    x = torch.randn(1, 4, 8, 8)
    assert (ResidualUnit(4, 4).eval()(x) < 0).any()


def test_pooled_stream_is_upsampled_bilinearly_and_cut_to_size():
    model, seen = network("frrn_a"), []
    model.up[-1][-1].register_forward_hook(lambda _, inputs, output: seen.append(output[0]))
    model.merge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(torch.rand(1, 3, 37, 51))
    coarse, merged = seen
    finer = nn.functional.interpolate(coarse, (38, 52), mode="bilinear")[..., :37, :51]
    torch.testing.assert_close(merged[:, :-3], finer)
