import math

import pytest
import torch
from torchvision.models.detection.roi_heads import (
    heatmaps_to_keypoints,
    keypoints_to_heatmap,
    paste_masks_in_image,
    project_masks_on_boxes,
)

from unpool.ops.region_maps import NOWHERE, joint_targets, joints_in, mask_targets, paste_masks

HW = (90, 120)
BOXES = torch.tensor([[10.3, 5.2, 60.9, 70.4], [40.0, 20.0, 110.0, 48.5], [0.0, 0.0, 31.7, 90.0]])


def discs(side, radius=0.4):
    """(3, side, side): a disc, and two that are cut off on one side."""
    y, x = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    centres = torch.tensor([[0.5, 0.5], [0.2, 0.6], [0.7, 0.9]])[:, :, None, None]
    return ((x - centres[:, 0]) ** 2 + (y - centres[:, 1]) ** 2).sqrt() < radius


def overlap(some, others):
    return (some & others).flatten(1).sum(1) / (some | others).flatten(1).sum(1)


def test_masks_are_drawn_as_in_torchvision_but_for_its_rounding_of_boxes():
    shares = discs(28).float()
    mine = paste_masks(shares, BOXES, HW)
    theirs = paste_masks_in_image(shares[:, None], BOXES, HW)[:, 0] > 0.5
    assert overlap(mine, theirs).min() > 0.92
    large = 4 * BOXES  # where rounding matters less
    sides = (4 * HW[0], 4 * HW[1])
    theirs = paste_masks_in_image(shares[:, None], large, sides)[:, 0] > 0.5
    assert overlap(paste_masks(shares, large, sides), theirs).min() > 0.97


def test_mask_of_ones_is_the_pixels_whose_middles_lie_in_the_box():
    boxes = torch.cat(
        [
            BOXES,
            torch.tensor(
                [[-4.0, 80.0, 6.0, 99.0], [50.1, 50.1, 50.4, 60.0], [20.7, 30.6, 44.0, 60.8], [7.0, 7.0, 7.0, 7.0]]
            ),
        ]
    )
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in HW), indexing="ij")
    left, top, right, bottom = boxes.T[:, :, None, None]
    inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    assert torch.equal(paste_masks(torch.ones(len(boxes), 28, 28), boxes, HW), inside)


def test_masks_come_back_from_their_targets():
    masks = torch.stack(
        [paste_masks(one[None].float(), box[None], HW)[0] for one, box in zip(discs(200), BOXES, strict=True)]
    )
    targets = mask_targets(masks, torch.arange(3), BOXES, 28)
    assert overlap(paste_masks(targets, BOXES, HW), masks).min() > 0.97


def test_targets_are_those_of_torchvision_half_a_pixel_from_where_it_takes_them():
    masks = paste_masks(discs(28).float(), BOXES, HW)
    rows = torch.tensor([2, 0, 2, 1])
    boxes = BOXES[rows] + torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    expected = project_masks_on_boxes(masks.float(), boxes - 0.5, rows, 28)
    torch.testing.assert_close(mask_targets(masks, rows, boxes, 28), expected, rtol=0, atol=1e-4)


def test_targets_are_the_same_however_few_masks_become_numbers_at_once(monkeypatch):
    masks, rows = paste_masks(discs(28).float(), BOXES, HW), torch.tensor([2, 0, 2, 1])
    whole = mask_targets(masks, rows, BOXES[rows], 28)
    monkeypatch.setattr("unpool.ops.region_maps._MOST", 2 * HW[0] * HW[1])
    assert torch.equal(mask_targets(masks, rows, BOXES[rows], 28), whole)


def test_target_is_the_share_of_each_cell_that_is_in_the_mask():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :3] = True
    expected = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]])
    target = mask_targets(mask, torch.tensor([0]), torch.tensor([[0.0, 0.0, 4.0, 8.0]]), 2)
    assert target == pytest.approx(expected, abs=1e-6)


def test_no_region_has_no_target_and_no_mask():
    assert mask_targets(torch.zeros(0, 8, 8).bool(), torch.zeros(0).long(), torch.zeros(0, 4), 28).shape == (0, 28, 28)
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), HW).shape == (0, *HW)
    assert joints_in(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4)).shape == (0, 17, 2)


def drawn_points():
    generator = torch.Generator().manual_seed(0)
    low, high = BOXES[:, None, :2], BOXES[:, None, 2:]
    points = low + (high - low) * (1.4 * torch.rand(3, 17, 2, generator=generator) - 0.2)
    points[:, 0] = high[:, 0]  # on the far corner
    return points


def test_cells_of_joints_are_those_of_torchvision():
    points = drawn_points()
    flags = torch.ones(3, 17, 1)
    cells, is_valid = keypoints_to_heatmap(torch.cat([points, flags], 2), BOXES, 56)
    expected = torch.where(is_valid.bool(), cells, NOWHERE)
    assert 0 < int((expected == NOWHERE).sum()) < 30
    assert torch.equal(joint_targets(points, BOXES, 56), expected)


def test_joint_that_is_not_known_has_no_cell():
    points = drawn_points()
    points[1, 0, 0] = math.nan
    targets = joint_targets(points, BOXES, 56)
    assert targets[1, 0] == NOWHERE
    assert targets[0, 0] == 56 * 56 - 1


def test_joints_are_read_from_maps_as_in_torchvision():
    maps = torch.randn(3, 5, 56, 56, generator=torch.Generator().manual_seed(1))
    expected, _ = heatmaps_to_keypoints(maps, BOXES)
    torch.testing.assert_close(joints_in(maps, BOXES), expected[..., :2], rtol=0, atol=1e-4)


def test_joints_come_back_from_their_cells_in_boxes_of_any_size():
    points = drawn_points()
    targets = joint_targets(points, BOXES, 56)
    is_known = targets != NOWHERE
    maps = torch.nn.functional.one_hot(targets.clamp(min=0), 56 * 56).float().unflatten(2, (56, 56))
    cells = (BOXES[:, 2:] - BOXES[:, :2])[:, None] / 56
    apart = (joints_in(maps, BOXES, least=56) - points).abs()
    assert (apart <= cells + 1e-4)[is_known].all()  # half for the cell, and at most as much for the position in it
