"""Correlation and warping beside slow references, and the colours of disparity and flow."""

import math

import pytest
import torch

from unpool.data.pair_scenes import FlowScenes
from unpool.ops.displacements import correlation, enlarged, warped
from unpool.ops.drawing_motion import disparity_colours, flow_colours


@pytest.mark.parametrize(("reach", "step"), [(2, 1), (1, 2)])
def test_correlation_is_the_mean_product_at_each_displacement(reach, step):
    first, second = torch.randn(2, 1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    found = correlation(first, second, reach=reach, step=step)
    side = 2 * reach + 1
    for i in range(side):
        for j in range(side):
            for y, x in ((0, 0), (2, 3), (4, 5)):
                there_y, there_x = y + (i - reach) * step, x + (j - reach) * step
                inside = 0 <= there_y < 5 and 0 <= there_x < 6
                expected = float((first[0, :, y, x] * second[0, :, there_y, there_x]).mean()) if inside else 0.0
                assert float(found[0, i * side + j, y, x]) == pytest.approx(expected, abs=1e-6)


def test_second_frame_warped_by_the_true_flow_is_the_first_where_both_show_it():
    sample = FlowScenes(None, "val", side=64)[0]
    first, second = sample["image"].float().chunk(2)
    back = warped(second[None], sample["flow"][None])[0]
    seen = ~sample["hidden"]
    moved, still = ((one - first).abs().mean(0)[seen].median() for one in (back, second))
    assert moved < 0.75 * still  # noise and exposure remain


def test_enlarged_map_stays_where_it_lies_and_is_cut():
    """A map of positions, of a side that is no multiple of the stride."""
    positions = (4 * torch.arange(4.0) + 1.5).expand(1, 1, 2, 4)
    assert enlarged(positions, 4, (7, 13))[0, 0, 3, 2:].tolist() == [float(x) for x in range(2, 13)]
    assert enlarged(positions, 4, (7, 13)).shape == (1, 1, 7, 13)


@pytest.mark.parametrize(
    ("u", "v", "rgb"), [(1, 0, (255, 0, 0)), (-1, 0, (0, 209, 255)), (0, 1, (255, 231, 0)), (0, -1, (88, 0, 255))]
)
def test_direction_of_a_flow_has_the_hue_of_the_wheel(u, v, rgb):
    """The wheel's 55 steps by hand: left is its middle, down a quarter of the way, up three quarters."""
    flow = torch.tensor([float(u), float(v)]).view(2, 1, 1)
    assert flow_colours(flow, 1.0)[:, 0, 0].tolist() == pytest.approx(list(rgb), abs=4)
    assert flow_colours(2 * flow, 1.0)[:, 0, 0].tolist() == pytest.approx([0.75 * c for c in rgb], abs=4)
    half = [255 - (255 - c) / 2 for c in rgb]
    assert flow_colours(flow / 2, 1.0)[:, 0, 0].tolist() == pytest.approx(half, abs=4)


def test_disparity_colours_are_kitti_s():
    """Blue after 114 of 1000 steps and red after 299, black for what is not known."""
    values = torch.tensor([[0.0, 0.114, 0.299, 0.413, 0.587, 1.0, 2.0, torch.nan]])
    blue, red, magenta, green, white = [0, 0, 255], [255, 0, 0], [255, 0, 255], [0, 255, 0], 3 * [255]
    expected = [3 * [0], blue, red, magenta, green, white, white, 3 * [0]]
    found = disparity_colours(values, 1.0)[:, 0].T.tolist()
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=2)
    assert math.isclose(sum((114, 185, 114, 174, 114, 185, 114)), 1000)
