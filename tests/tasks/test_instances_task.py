from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.tasks.tiny_detectors import NONE, ONE, TWO, Branched, detector, scenes
from unpool.errors import RecipeError
from unpool.ops.run_lengths import decode_rle
from unpool.task_facts import check_described, check_measured
from unpool.tasks.detection import Detection
from unpool.tasks.detection_losses import Regions, draw_regions
from unpool.tasks.detection_truth import truths
from unpool.tasks.instances import Instances
from unpool.training.step import total_loss
from unpool.types import DataInfo

INFO = DataInfo(classes=("red", "green", "blue"), class_ids=(3, 1, 90))
SIDE = 64


def masks_of(boxes):
    """(N, 64, 64): the upper left half of each box."""
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    left, top, right, bottom = boxes.T[:, :, None, None]
    inside = (x > left) & (x < right) & (y > top) & (y < bottom)
    return inside & ((x - left) / (right - left) + (y - top) / (bottom - top) < 1)


def batch_of(*boxes, **more):
    return scenes(*boxes, masks=[masks_of(one) for one in boxes], **more)


def regions_of(boxes, labels, rows):
    return Regions(boxes, torch.tensor(labels), boxes, torch.tensor(rows))


def mask_loss(logits, regions, batch):
    """The term of masks, where the network's maps of regions are `logits`."""
    seen = SimpleNamespace(region_maps=lambda boxes, channels: logits)
    return Instances(INFO).losses_of_boxes(seen, regions, batch)["masks"]


def test_loss_of_masks_reaches_the_true_class_alone():
    logits = torch.randn(2, 4, 28, 28, generator=torch.Generator().manual_seed(0), requires_grad=True)
    boxes = torch.cat([TWO, torch.tensor([[0.0, 40.0, 20.0, 60.0]])])
    term = mask_loss(logits, [regions_of(boxes, [1, 3, 0], [0, 1])], batch_of(TWO))
    term.sum.backward()
    is_reached = logits.grad.flatten(2).any(2)
    assert is_reached.tolist() == [[False, True, False, False], [False, False, False, True]]
    assert float(term.count) == 2 * 28 * 28


def test_loss_of_masks_is_least_for_the_masks_themselves():
    regions, batch = [regions_of(TWO.flip(0), [2, 1], [1, 0])], batch_of(TWO)
    y, x = torch.meshgrid(torch.arange(28) + 0.5, torch.arange(28) + 0.5, indexing="ij")
    right = torch.where(x + y < 28, 9.0, -9.0).expand(2, 4, 28, 28)
    losses = [float(mask_loss(logits, regions, batch).sum) for logits in (right, -right, right.flip(-1))]
    assert losses[0] < 0.2 * min(losses[1:])


def test_box_without_pixels_of_a_mask_teaches_none():
    batch = batch_of(TWO)
    batch["masks"] = [batch["masks"][0] & torch.tensor([False, True])[:, None, None]]
    logits = torch.zeros(2, 4, 28, 28, requires_grad=True)
    term = mask_loss(logits, [regions_of(TWO, [1, 1], [0, 1])], batch)
    term.sum.backward()
    assert float(term.count) == 28 * 28
    assert not logits.grad[0].any()


def test_masks_are_compared_on_the_image_whatever_the_size_of_the_input():
    boxes = [regions_of(TWO / 2, [1, 1], [0, 1])]
    logits = torch.randn(2, 4, 28, 28, generator=torch.Generator().manual_seed(0))
    whole = batch_of(TWO)
    small = whole | {"image": whole["image"][..., ::2, ::2]}
    same = mask_loss(logits, [regions_of(TWO, [1, 1], [0, 1])], whole)
    assert float(mask_loss(logits, boxes, small).sum) == pytest.approx(float(same.sum), rel=1e-5)


def test_small_network_learns_two_scenes():
    task, network = Instances(INFO), Branched()
    batch = batch_of(TWO, ONE, labels=[torch.tensor([0, 1]), torch.tensor([2])])
    shown = [image.amax(0) > 1 for image in batch["image"]]  # squares of the colours of their classes
    batch["masks"] = [one.expand(len(boxes), -1, -1) for one, boxes in zip(shown, batch["boxes"], strict=True)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    seen = []
    for step in range(15):
        torch.manual_seed(step)
        losses = task.losses(network, batch)
        seen.append(float(losses["masks"].sum.detach() / losses["masks"].count))
        total_loss(losses).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert seen[-1] < 0.8 * seen[0]


def test_losses_of_two_batches_add_up_to_those_of_one():
    task, network, both = Instances(INFO), Branched(), batch_of(TWO, ONE)
    torch.manual_seed(5)
    with torch.no_grad():
        parts = [task.losses(network, {key: value[i : i + 1] for key, value in both.items()}) for i in (0, 1)]
        whole = task.losses(network, both)
    for field in ("sum", "count"):
        added = sum(float(getattr(one["masks"], field)) for one in parts)
        assert float(getattr(whole["masks"], field)) == pytest.approx(added, rel=1e-5)


def test_image_without_things_has_a_loss_and_an_answer():
    task, network = Instances(INFO), Branched()
    losses = task.losses(network, batch_of(NONE))
    total_loss(losses).backward()
    assert float(losses["masks"].count) == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.branch.parameters())


def test_masks_lie_on_the_image_as_decoded_and_within_their_boxes():
    task, network = Instances(INFO), Branched().eval()
    nn.init.constant_(network.branch.bias, 8.0)
    shown = batch_of(TWO) | {"size_hw": torch.tensor([[100, 130]])}
    with torch.inference_mode():
        answer = task.answer(network, task.inputs_of(shown))
    boxes, masks = answer["boxes"][0], answer["masks"][0]
    assert masks.shape == (len(boxes), 100, 130)
    assert len(boxes) > 0
    covered = masks.flatten(1).sum(1)
    assert covered == pytest.approx((boxes[:, 2:] - boxes[:, :2]).prod(1), rel=0.35, abs=20)


def answer_of(batch, i=0):
    return {key: batch[key][i] for key in ("boxes", "labels", "masks")} | {"score": torch.tensor([0.9, 0.4])}


def test_perfect_masks_score_one_and_shifted_ones_less():
    task, batch = Instances(INFO), batch_of(TWO)
    figures = []
    for masks in (batch["masks"][0], batch["masks"][0].roll(3, -1)):
        metric = task.metric()
        answer = {key: [value] for key, value in answer_of(batch).items()} | {"masks": [masks]}
        metric.update(answer, batch)
        figures.append(metric.compute())
    assert figures[0]["mask_ap"] == figures[0]["ap"] == figures[1]["ap"] == 1.0
    assert figures[1]["mask_ap"] < 0.9


def test_metrics_that_are_described_are_measured():
    task = Instances(INFO)
    check_described(task)
    check_measured(task)
    assert set(task.described) <= set(task.metric().compute())
    assert (task.best, next(iter(task.described))) == ("mask_ap", "mask_ap")


def test_masks_turn_with_the_image_and_are_joined_with_their_boxes():
    task, batch = Instances(INFO), batch_of(TWO)
    opinion = {key: [value] for key, value in answer_of(batch).items()}
    turned = task.unmirrored(opinion, batch)
    assert torch.equal(turned["masks"][0], batch["masks"][0].flip(-1))
    joined = task.conclude(Branched(), [task.unmirrored(turned, batch), opinion], batch)
    assert [len(joined[key][0]) for key in ("boxes", "labels", "score", "masks")] == [2] * 4
    assert torch.equal(joined["masks"][0], batch["masks"][0])


def test_masks_are_written_as_cocos_run_lengths(tmp_path):
    task, answer = Instances(INFO), answer_of(batch_of(TWO))
    record = task.record(answer)
    assert torch.equal(record["masks"], answer["masks"])
    written = task.write(record, tmp_path / "x")
    assert "masks" not in written
    content = task.results([{"image": "7.jpg", **written}]).content
    assert [one["category_id"] for one in content] == [3, 1]
    for one, mask in zip(content, answer["masks"], strict=True):
        assert torch.equal(decode_rle(one["segmentation"], (SIDE, SIDE)), mask)


def test_masks_of_an_answer_are_drawn_where_they_are_likely():
    task, answer = Instances(INFO), answer_of(batch_of(TWO))
    image = torch.full((3, SIDE, SIDE), 90, dtype=torch.uint8)
    drawn = task.draw(image, task.thinned(task.record(answer), 1))
    times = drawn.shape[-1] // SIDE
    changed = (drawn[:, times // 2 :: times, times // 2 :: times] != 90).any(0)
    sure, unsure = answer["masks"]
    assert changed[sure].all()
    assert not changed[unsure].any()


def test_network_without_masks_is_refused():
    with pytest.raises(RecipeError, match=r"gives no masks of boxes.*such as maskrcnn"):
        Instances(INFO).answer(detector("two"), batch_of(TWO))
    with pytest.raises(RecipeError, match="5 maps a box where 4 were due"):
        Instances(INFO).losses(Branched(3, channels=5), batch_of(TWO))


def test_boxes_alone_leave_the_branch_for_masks_as_it_is():
    network = Branched()
    Detection(INFO).freeze(network)
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == ["branch.weight", "branch.bias"]
    network = Branched()
    Instances(INFO).freeze(network)
    assert all(p.requires_grad for p in network.parameters())
    assert set(Detection(INFO).losses(network, scenes(TWO))) == {"objectness", "proposals", "classes", "boxes"}


def test_rows_of_things_are_those_of_the_batch_though_some_do_not_count():
    """A crowd stands before the things: masks are found by row."""
    boxes = torch.cat([torch.tensor([[30.0, 2.0, 50.0, 20.0]]), TWO])
    batch = batch_of(boxes, crowd=[torch.tensor([True, False, False])])
    (truth,) = truths(batch, is_training=True)
    assert truth.rows.tolist() == [1, 2]
    regions = draw_regions(TWO.flip(0), truth, Branched().practice)
    for row, target in zip(regions.rows, regions.targets, strict=False):
        assert torch.equal(boxes[row], target)
