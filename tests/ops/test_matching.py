import pytest
import torch
from torchvision.models.detection._utils import Matcher

from unpool.ops import matching
from unpool.ops.boxes import iou
from unpool.ops.matching import BACKGROUND, LEFT_OUT, draw_balanced, hardest, leave_out, match


def drawn(count, seed, side=100.0):
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(count, 2, generator=generator) * part for part in (side, side / 2))
    return torch.cat([corner, corner + size + 1], dim=1)


@pytest.mark.parametrize(("best", "low_quality"), [("none", False), ("every", True)])
def test_matches_are_those_of_torchvision(best, low_quality):
    anchors, boxes = drawn(400, 0), drawn(12, 1)
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=low_quality)(iou(boxes, anchors))
    assert match(anchors, boxes, positive=0.7, negative=0.3, best=best).equal(expected)


def test_every_box_has_a_positive_anchor_though_none_reaches_the_threshold():
    anchors, boxes = drawn(300, 0), drawn(9, 1)
    highest = iou(boxes, anchors)
    matches = match(anchors, boxes, positive=0.99, negative=0.3, best="every")
    assert (matches[highest.argmax(1)] >= 0).all()
    assert (match(anchors, boxes, positive=0.99, negative=0.3) < 0).all()


def test_anchors_that_touch_no_box_are_not_its_best():
    anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 12.0, 12.0]])
    far = torch.tensor([[50.0, 50.0, 60.0, 60.0]])
    for best in ("every", "one"):
        assert match(anchors, far, positive=0.5, negative=0.5, best=best).tolist() == [BACKGROUND, BACKGROUND]


def slowly_one_each(table):
    """Pairs of box and anchor, the highest IoU of all that are left first."""
    left, pairs = table.clone(), {}
    while left.max() > 0:
        box, anchor = divmod(int(left.argmax()), left.shape[1])
        pairs[anchor] = box
        left[box], left[:, anchor] = 0, 0
    return pairs


@pytest.mark.parametrize("seed", range(5))
def test_each_box_gets_an_anchor_of_its_own_best_pair_first(seed):
    anchors, boxes = drawn(30, seed), drawn(14, seed + 10)
    matches = match(anchors, boxes, positive=2.0, negative=2.0, best="one")
    pairs = slowly_one_each(iou(boxes, anchors))
    assert {i: n for i, n in enumerate(matches.tolist()) if n >= 0} == pairs
    assert len(pairs) > 10


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kept", [2, 5, 1000])
def test_crowded_boxes_and_ties_are_matched_as_pair_after_pair(kept, seed, monkeypatch):
    monkeypatch.setattr(matching, "_KEPT", kept)
    monkeypatch.setattr(matching, "_AT_ONCE", 40 * 17)
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 3, (120, 2), generator=generator).float()
    size = torch.randint(1, 5, (120, 2), generator=generator).float()
    boxes, anchors = torch.cat([corner, corner + size], dim=1).split([40, 80])  # whole numbers: many equal IoUs
    matches = match(anchors, boxes, positive=2.0, negative=2.0, best="one")
    pairs = slowly_one_each(iou(boxes, anchors))
    assert {i: n for i, n in enumerate(matches.tolist()) if n >= 0} == pairs
    assert len(pairs) > 30


def test_equal_boxes_each_have_an_anchor():
    anchors = drawn(30, 0, side=10.0)
    boxes = anchors[:1].repeat(5, 1)
    assert sorted(n for n in match(anchors, boxes, positive=2.0, negative=2.0, best="one").tolist() if n >= 0) == [
        *range(5)
    ]


@pytest.mark.parametrize("best", ["none", "every", "one"])
def test_many_boxes_are_matched_in_parts_as_at_once(best, monkeypatch):
    anchors, boxes = drawn(100, 0), drawn(20, 1)
    numbers = {"positive": 0.6, "negative": 0.3, "best": best}
    whole = match(anchors, boxes, **numbers)
    monkeypatch.setattr(matching, "_AT_ONCE", 7 * 20)
    assert match(anchors, boxes, **numbers).equal(whole)
    others = leave_out(whole, anchors, boxes)
    monkeypatch.undo()
    assert others.equal(leave_out(whole, anchors, boxes))


def test_without_boxes_all_is_background():
    assert match(drawn(5, 0), torch.zeros(0, 4), positive=0.5, negative=0.5, best="one").tolist() == 5 * [BACKGROUND]


def test_background_within_a_crowd_is_left_out_and_positives_stay():
    anchors = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 8.0], [0.0, 0.0, 4.0, 8.1], [1.0, 1.0, 3.0, 3.0]])
    crowd = torch.tensor([[0.0, 0.0, 20.0, 4.0]])
    matches = torch.tensor([BACKGROUND, BACKGROUND, BACKGROUND, 0])
    assert leave_out(matches, anchors, crowd).tolist() == [LEFT_OUT, LEFT_OUT, BACKGROUND, 0]
    assert leave_out(matches, anchors, crowd[:0]).equal(matches)


@pytest.mark.parametrize(("positives", "expected"), [(100, (8, 24)), (3, (3, 29)), (0, (0, 32))])
def test_draws_fill_up_with_background(positives, expected):
    matches = torch.full((200,), BACKGROUND)
    matches[:positives], matches[-20:] = 5, LEFT_OUT
    drawn_, background = draw_balanced(matches, count=32, share=0.25, generator=torch.Generator().manual_seed(0))
    assert (len(drawn_), len(background)) == expected
    assert (matches[drawn_] == 5).all()
    assert (matches[background] == BACKGROUND).all()
    assert len({*drawn_.tolist(), *background.tolist()}) == 32


def test_draws_depend_on_the_generator_alone():
    matches = torch.randint(-2, 2, (500,), generator=torch.Generator().manual_seed(0))
    first, again, other = (
        torch.cat(draw_balanced(matches, count=64, share=0.5, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    )
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize(("positives", "chosen"), [(2, 6), (0, 3), (50, 47)])
def test_hardest_background_is_three_times_the_positives_at_most(positives, chosen):
    matches = torch.full((100,), BACKGROUND)
    matches[:positives], matches[-3:] = 0, LEFT_OUT
    losses = torch.rand(100, generator=torch.Generator().manual_seed(0))
    losses[-3:] = 9
    counts = hardest(losses, matches, ratio=3)
    assert counts[:positives].all()
    background = counts & (matches == BACKGROUND)
    assert int(background.sum()) == chosen
    left = losses[(matches == BACKGROUND) & ~background]
    assert not chosen or not len(left) or losses[background].min() >= left.max()
    assert not counts[-3:].any()
