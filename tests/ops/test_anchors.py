import pytest
import torch

from unpool.ops.anchors import best_iou, iou_of_sides, plan, plan_maps, reached
from unpool.ops.boxes import iou


def drawn(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[12.0, 10.0], [40.0, 90.0], [120.0, 60.0]])
    spread = 1 + 0.2 * (torch.rand(count, 2, generator=generator) - 0.5)
    return centres[torch.arange(count) % 3] * spread


def test_iou_of_sides_is_that_of_boxes_with_one_centre():
    some, others = drawn(8), drawn(8, seed=1)
    boxes, more = (torch.cat([-sides / 2, sides / 2], dim=1) for sides in (some, others))
    assert iou_of_sides(some, others) == pytest.approx(iou(boxes, more))


def test_planned_anchors_lie_in_the_groups_of_the_boxes():
    planned = plan(drawn(), 3)
    assert planned.sides_wh == pytest.approx(torch.tensor([[12.0, 10.0], [40.0, 90.0], [120.0, 60.0]]), rel=0.05)
    assert planned.share_reached == 1.0
    assert plan(drawn(), 1).share_reached < 1.0


def test_order_of_the_boxes_changes_nothing():
    boxes = drawn()
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(3))
    assert plan(boxes, 5).sides_wh.equal(plan(boxes[order], 5).sides_wh)


def test_more_anchors_suit_better():
    means = [float(plan(drawn(), count).iou.mean()) for count in (1, 2, 3, 9)]
    assert means == sorted(means)


def test_no_more_anchors_than_kinds_of_boxes():
    assert plan(torch.tensor([[4.0, 4.0], [4.0, 4.0], [0.0, 9.0]]), 3).sides_wh.tolist() == [[4.0, 4.0]]


def test_boxes_without_an_area_are_refused():
    with pytest.raises(ValueError, match="no box of some width and height"):
        plan(torch.tensor([[0.0, 4.0]]), 2)


def test_best_anchor_where_it_stands_is_that_of_all_pairs():
    corners = 90 * torch.rand(200, 2, generator=torch.Generator().manual_seed(2))
    boxes = torch.cat([corners, corners + drawn(200) / 2], dim=1)
    maps = []
    for stride, shapes in ((8, [(10.0, 12.0), (20.0, 9.0)]), (16, [(40.0, 44.0), (10.0, 12.0)])):
        centres = (torch.cartesian_prod(torch.arange(96 // stride), torch.arange(80 // stride)) + 0.5) * stride
        halves = [torch.tensor(shape) / 2 for shape in shapes]
        maps.append(torch.cat([torch.cat([centres - half, centres + half], dim=1) for half in halves]))
    level = torch.tensor([0] * len(maps[0]) + [1] * len(maps[1]))
    assert best_iou(boxes, torch.cat(maps), level) == pytest.approx(iou(boxes, torch.cat(maps)).amax(1), abs=1e-5)


def test_each_map_is_planned_from_boxes_of_four_to_eight_of_its_strides():
    sides = torch.tensor([[6.0, 6.0], [40.0, 40.0], [50.0, 40.0], [70.0, 90.0], [100.0, 66.0]])
    shapes = plan_maps(sides, [8, 16, 32, 64], 2).unflatten(0, (4, 2))
    side = shapes.prod(2).sqrt()
    assert shapes[0].tolist() == [[6.0, 6.0], [45.0, 40.0]]
    assert shapes[1].tolist() == [[70.0, 90.0], [100.0, 66.0]]
    for i, stride in ((2, 32), (3, 64)):  # no box is so large
        assert (side[i] >= 4 * stride * 0.999).all()
        assert (side[i] <= 8 * stride * 1.001).all()


def test_without_anchors_nothing_is_reached():
    assert reached(drawn(4), torch.zeros(0, 2)).tolist() == 4 * [0.0]
