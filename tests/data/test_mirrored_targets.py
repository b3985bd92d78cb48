"""Left and right trade names in a mirror, and in no other map."""

import pytest
import torch

from unpool.data.augment.targets import warp_targets
from unpool.ops import geometry

TURN = geometry.rotation(torch.tensor([180.0]), torch.tensor([[8, 8]]))[0]
FLIP = geometry.mirror(torch.tensor([True]), torch.tensor([8]))[0]
CLOSE = torch.diag(torch.tensor([1e-23, 1e-23, 1.0]))  # float32 has no number for the area that it leaves of one


@pytest.mark.parametrize(
    ("matrix", "is_mirror"),
    [(torch.eye(3), False), (TURN, False), (FLIP, True), (FLIP @ TURN, True), (FLIP @ FLIP, False), (CLOSE, False)],
)
def test_joints_of_left_and_right_trade_names_in_a_mirror_alone(matrix, is_mirror):
    left, right = torch.tensor([1.0, 2.0]), torch.tensor([6.0, 5.0])
    moved = warp_targets({"keypoints": torch.stack([left, right])}, matrix, (8, 8), flip_pairs=((0, 1),))["keypoints"]
    expected = geometry.map_keypoints(torch.stack([right, left] if is_mirror else [left, right]), matrix)
    assert moved.equal(expected)
