from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection import ssd
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.models.detection.roi_heads import fastrcnn_loss

from tests.tasks.tiny_detectors import KINDS, NONE, ONE, TWO, anchors_of, detector, scenes
from unpool.models.detection.practice import FOCAL, FPN, SSD
from unpool.ops.boxes import encode
from unpool.ops.matching import match
from unpool.tasks.detection import Detection
from unpool.tasks.detection_losses import Regions, best_of, draw_regions, one_stage_losses, second_stage_losses
from unpool.tasks.detection_truth import match_anchors, truths
from unpool.training.step import total_loss
from unpool.types import AnchoredBoxes, ClassifiedRegions, DataInfo

INFO = DataInfo(classes=("red", "green", "blue"))
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def drawn_output(width, images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    anchors, level = anchors_of(8, 8)
    scores, deltas = (torch.randn(images, len(anchors), n, generator=generator) for n in (width, 4))
    return AnchoredBoxes(scores, deltas, anchors, level)


def values(losses):
    return {name: float(term.sum / term.count.clamp(min=1)) for name, term in losses.items()}


def test_hard_negatives_cost_what_they_cost_in_torchvision():
    output, batch = drawn_output(4), scenes(TWO)
    losses = one_stage_losses(output, truths(batch, is_training=True), SSD, weights=WEIGHTS, num_classes=3)
    matches = match(output.anchors, TWO, positive=0.5, negative=0.5, best="one")
    expected = ssd.SSD.compute_loss(
        SimpleNamespace(box_coder=BoxCoder(WEIGHTS), neg_to_pos_ratio=3),
        [{"boxes": TWO, "labels": batch["labels"][0] + 1}],
        {"bbox_regression": output.deltas, "cls_logits": output.scores},
        [output.anchors],
        [matches],
    )
    assert values(losses) == pytest.approx(
        {"classes": float(expected["classification"]), "boxes": float(expected["bbox_regression"])}, rel=1e-5
    )


def test_focal_loss_is_that_of_torchvision():
    output, batch = drawn_output(3), scenes(TWO)
    losses = one_stage_losses(output, truths(batch, is_training=True), FOCAL, weights=WEIGHTS, num_classes=3)
    matches = [match(output.anchors, TWO, positive=0.5, negative=0.4, best="every")]
    targets = [{"boxes": TWO, "labels": batch["labels"][0]}]
    head = SimpleNamespace(BETWEEN_THRESHOLDS=-2, box_coder=BoxCoder(WEIGHTS), _loss_type="l1")
    of_classes = RetinaNetClassificationHead.compute_loss(head, targets, {"cls_logits": output.scores}, matches)
    of_boxes = RetinaNetRegressionHead.compute_loss(
        head, targets, {"bbox_regression": output.deltas}, [output.anchors], matches
    )
    assert values(losses) == pytest.approx({"classes": float(of_classes), "boxes": float(of_boxes)}, rel=1e-5)


def test_second_stage_costs_what_it_costs_in_torchvision():
    generator = torch.Generator().manual_seed(0)
    output = ClassifiedRegions(torch.randn(6, 4, generator=generator), torch.randn(6, 4, 4, generator=generator))
    boxes = TWO[[0, 1, 0, 1, 0, 1]] + torch.randn(6, 4, generator=generator)
    labels, targets = torch.tensor([1, 2, 0, 0, 3, 0]), TWO[[0, 1, 0, 1, 0, 1]]
    losses = second_stage_losses(
        output, [Regions(boxes, labels, targets, rows=torch.zeros(3).long())], FPN, weights=WEIGHTS
    )
    expected = fastrcnn_loss(output.scores, output.deltas.flatten(1), [labels], [encode(targets, boxes, WEIGHTS)])
    assert values(losses) == pytest.approx(dict(zip(("classes", "boxes"), map(float, expected), strict=True)), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_two_batches_add_up_to_those_of_one(kind):
    task, network = Detection(INFO), detector(kind)
    both = scenes(TWO, ONE)
    torch.manual_seed(5)
    with torch.no_grad():
        whole = task.losses(network, both)
        parts = [task.losses(network, {key: value[i : i + 1] for key, value in both.items()}) for i in (0, 1)]
    for name, term in whole.items():
        assert float(term.count) == sum(float(part[name].count) for part in parts)
        assert float(term.sum) == pytest.approx(sum(float(part[name].sum) for part in parts), rel=1e-5)
        assert term.count > 0


def test_draws_go_by_step_and_image_alone():
    task, network = Detection(INFO), detector("two")
    batch, other = scenes(TWO), scenes(TWO, index=torch.tensor([7]))

    def loss(batch, seed):
        torch.manual_seed(seed)
        torch.rand(3)  # as by dropout
        with torch.no_grad():
            return float(total_loss(task.losses(network, batch)))

    assert loss(batch, 1) == loss(batch, 1)
    assert len({loss(batch, 1), loss(batch, 2), loss(other, 1)}) == 3
    network.eval()
    assert loss(batch, 1) == loss(batch, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_boxes_are_background_with_finite_gradients(kind):
    network, task = detector(kind), Detection(INFO)
    losses = task.losses(network, scenes(NONE, NONE))
    assert float(losses["boxes"].sum.detach()) == 0
    assert float(losses["classes"].sum.detach()) > 0
    total_loss(losses).backward()
    gradients = [weight.grad for weight in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_things_that_do_not_count_are_neither_learned_nor_background(kind, flag):
    batch = scenes(TWO, **{flag: [torch.tensor([False, True])]})
    truth = truths(batch, is_training=True)
    assert truth[0].boxes.equal(TWO[:1])
    anchors, _ = anchors_of(8, 8)
    matches = match_anchors(anchors, truth[0], positive=0.5, negative=0.4, best="every")
    within = (anchors[:, :2] >= TWO[1, :2]).all(1) & (anchors[:, 2:] <= TWO[1, 2:]).all(1)
    assert within.any()
    assert (matches[within] == -2).all()
    assert (matches == 0).any()
    assert (matches == -1).any()
    assert total_loss(Detection(INFO).losses(detector(kind), batch)).isfinite()


def test_boxes_without_an_area_give_no_infinite_target():
    batch = scenes(torch.tensor([[4.0, 4.0, 4.0, 20.0], [10.0, 10.0, 30.0, 30.0]]))
    for kind in KINDS:
        assert total_loss(Detection(INFO).losses(detector(kind), batch)).isfinite()


def test_padding_is_no_background():
    batch = scenes(TWO, valid_xyxy=torch.tensor([[0.0, 0.0, 32.0, 64.0]]), size_hw=torch.tensor([[64, 32]]))
    anchors, _ = anchors_of(8, 8)
    matches = match_anchors(anchors, truths(batch, is_training=True)[0], positive=0.5, negative=0.5)
    beside = (anchors[:, 0] + anchors[:, 2]) / 2 > 32
    assert (matches[beside & (matches < 0)] == -2).all()
    assert (matches[~beside] == -1).any()


def test_boxes_are_learned_where_the_input_shows_them():
    batch = scenes(TWO, valid_xyxy=torch.tensor([[8.0, 0.0, 40.0, 32.0]]))  # 64 pixels of the image in 32
    assert truths(batch, is_training=True)[0].boxes.equal(TWO / 2 + torch.tensor([8.0, 0.0, 8.0, 0.0]))


def test_anchors_that_cross_the_border_may_be_left_out():
    anchors, _ = anchors_of(8, 8)
    truth = truths(scenes(TWO), is_training=True)[0]
    matches = match_anchors(anchors, truth, positive=0.5, negative=0.5, best="every", is_inside=True)
    crosses = (anchors[:, :2] < 0).any(1) | (anchors[:, 2:] > 64).any(1)
    assert (matches[crosses] == -2).all()
    assert (matches[~crosses] != -2).all()
    outside = anchors + 1000
    all_cross = match_anchors(outside, truth, positive=0.5, negative=0.5, is_inside=True)
    assert (all_cross == -2).all()  # their centres lie beside the image too
    large = torch.tensor([[-10.0, -10.0, 80.0, 80.0]])
    assert match_anchors(large, truth, positive=0.5, negative=0.5, is_inside=True).tolist() == [-1]


def test_true_boxes_are_among_the_regions_of_training():
    truth = truths(scenes(TWO), is_training=True)[0]
    far = torch.tensor([[50.0, 2.0, 60.0, 12.0]]).repeat(40, 1)
    regions = draw_regions(far, truth, replace(FPN, samples=16))
    assert regions.boxes[:2].sort(0).values.equal(TWO.sort(0).values)
    assert regions.labels.tolist() == [1, 2] + 14 * [0] or regions.labels.tolist() == [2, 1] + 14 * [0]
    assert regions.targets[:2].equal(regions.boxes[:2])


def test_quarter_of_the_regions_are_things():
    truth = truths(scenes(TWO), is_training=True)[0]
    proposals = torch.cat([TWO.repeat(40, 1), torch.tensor([[50.0, 2.0, 60.0, 12.0]]).repeat(100, 1)])
    assert int((draw_regions(proposals, truth, replace(FPN, samples=64)).labels > 0).sum()) == 16


def test_no_gradient_goes_through_proposals():
    network, task = detector("two"), Detection(INFO)
    losses = task.losses(network, scenes(TWO))
    (losses["classes"].sum + losses["boxes"].sum).backward()
    assert network.body.head.weight.grad is None  # of objectness and proposals alone
    assert network.last.weight.grad.abs().sum() > 0


def test_first_stage_is_divided_by_the_anchors_drawn():
    network, task = detector("two"), Detection(INFO)
    with torch.no_grad():
        losses = task.losses(network, scenes(TWO, ONE))
    assert {name: float(term.count) for name, term in losses.items()} == {
        "objectness": 32.0,
        "proposals": 32.0,
        "classes": 32.0,
        "boxes": 32.0,
    }


@pytest.mark.parametrize(("kind", "rule"), [("focal", "every"), ("exclusive", "one"), ("two", "none")], ids=KINDS)
def test_boxes_get_their_best_anchor_as_published(kind, rule):
    assert best_of(detector(kind).practice) == rule
