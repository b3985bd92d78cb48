"""Which keypoints and people a window shows: it begins half a pixel before the middle of its first one."""

import pytest
import torch

from unpool.data.augment.targets import warp_targets

CORNERS = [(-0.5, -0.5), (-0.51, 3), (3, -0.51), (29.49, 9.49), (29.5, 9), (29, 9.5)]
IS_SHOWN = [True, False, False, True, False, False]


POINTS = torch.tensor(CORNERS)
WINDOWS = [pytest.param(POINTS, (10, 30), id="wide"), pytest.param(POINTS.flip(1), (30, 10), id="high")]


@pytest.mark.parametrize(("points", "size_hw"), WINDOWS)
def test_keypoints_beyond_a_side_of_the_window_are_invisible(points, size_hw):
    sample = {"keypoints": points, "visible": torch.ones(len(points), dtype=torch.bool)}
    assert warp_targets(sample, torch.eye(3), size_hw)["visible"].tolist() == IS_SHOWN


@pytest.mark.parametrize(("points", "size_hw"), WINDOWS)
def test_people_beyond_a_side_of_the_window_are_left_out(points, size_hw):
    shown = warp_targets({"people": points[:, None]}, torch.eye(3), size_hw)["people"]
    assert shown.equal(points[torch.tensor(IS_SHOWN)][:, None])
