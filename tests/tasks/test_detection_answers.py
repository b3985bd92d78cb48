from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection import ssd
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNet
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork

from tests.tasks.tiny_detectors import FEW, NONE, TWO, anchors_of, scenes
from unpool.models.detection.practice import FOCAL, FPN, SSD
from unpool.ops.boxes import encode, iou
from unpool.tasks.detection_answers import answer_one_stage, answer_two_stages, join_boxes, propose, select
from unpool.types import AnchoredBoxes, ClassifiedRegions, ProposedRegions

WEIGHTS = (10.0, 10.0, 5.0, 5.0)
WHOLE = torch.tensor([[0.0, 0.0, 64.0, 64.0]])


def drawn_output(width, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    anchors, level = anchors_of(8, 8)
    scores, deltas = (scale * torch.randn(1, len(anchors), n, generator=generator) for n in (width, 4))
    return AnchoredBoxes(scores, deltas, anchors, level)


def assert_same(found, expected, *, background=0):
    assert len(found.boxes) == len(expected["boxes"]) > 10
    assert found.scores == pytest.approx(expected["scores"])
    assert found.labels.equal(expected["labels"] - background)
    assert found.boxes == pytest.approx(expected["boxes"], abs=1e-4)


def test_answers_of_exclusive_classes_are_those_of_torchvision():
    output, numbers = drawn_output(4), replace(SSD, score=0.2, candidates_of_class=20)
    found = answer_one_stage(output, WHOLE, numbers, weights=WEIGHTS, num_classes=3)[0]
    asked = {"box_coder": BoxCoder(WEIGHTS), "score_thresh": 0.2, "topk_candidates": 20}
    expected = ssd.SSD.postprocess_detections(
        SimpleNamespace(**asked, nms_thresh=0.45, detections_per_img=200),
        {"bbox_regression": output.deltas, "cls_logits": output.scores},
        [output.anchors],
        [(64, 64)],
    )[0]
    assert_same(found, expected, background=1)


def test_answers_of_independent_classes_are_those_of_torchvision():
    output, numbers = drawn_output(3), replace(FOCAL, candidates_of_map=25)
    found = answer_one_stage(output, WHOLE, numbers, weights=WEIGHTS, num_classes=3)[0]
    asked = {"box_coder": BoxCoder(WEIGHTS), "score_thresh": 0.05, "topk_candidates": 25}
    expected = RetinaNet.postprocess_detections(
        SimpleNamespace(**asked, nms_thresh=0.5, detections_per_img=numbers.most),
        {"cls_logits": list(output.scores.split(64, dim=1)), "bbox_regression": list(output.deltas.split(64, dim=1))},
        [list(output.anchors.split(64))],
        [(64, 64)],
    )[0]
    assert_same(found, expected)


def test_answers_of_two_stages_are_those_of_torchvision():
    generator = torch.Generator().manual_seed(0)
    proposals = anchors_of(8, 8)[0]
    output = ClassifiedRegions(torch.randn(128, 4, generator=generator), torch.randn(128, 4, 4, generator=generator))
    found = answer_two_stages(output, [proposals], WHOLE, FPN, weights=WEIGHTS)[0]
    asked = {"box_coder": BoxCoder(WEIGHTS), "score_thresh": 0.05, "nms_thresh": 0.5, "detections_per_img": 100}
    parts = RoIHeads.postprocess_detections(
        SimpleNamespace(**asked), output.scores, output.deltas.flatten(1), [proposals], [(64, 64)]
    )
    assert_same(found, dict(zip(("boxes", "scores", "labels"), (part[0] for part in parts), strict=True)), background=1)


def test_proposals_are_those_of_torchvision():
    generator = torch.Generator().manual_seed(0)
    anchors, level = anchors_of(8, 8)
    scores, deltas = torch.randn(1, 128, generator=generator), torch.randn(1, 128, 4, generator=generator)
    output = ProposedRegions((torch.zeros(1),), scores, deltas, anchors, level)
    numbers = replace(FEW.proposing, candidates=50, most=30)
    found = propose(output, WHOLE, numbers, is_training=False)[0]
    asked = SimpleNamespace(
        pre_nms_top_n=lambda: 50, post_nms_top_n=lambda: 30, min_size=1e-3, score_thresh=0.0, nms_thresh=0.7
    )
    asked._get_top_n_idx = lambda *given: RegionProposalNetwork._get_top_n_idx(asked, *given)
    decoded = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(deltas[0], [anchors])
    expected = RegionProposalNetwork.filter_proposals(asked, decoded[:, 0][None], scores, [(64, 64)], [64, 64])[0][0]
    assert found == pytest.approx(expected, abs=1e-4)


def test_training_keeps_more_proposals_than_answers():
    anchors, level = anchors_of(8, 8)
    output = ProposedRegions((torch.zeros(1),), torch.zeros(1, 128), torch.zeros(1, 128, 4), anchors, level)
    counts = [len(propose(output, WHOLE, FEW.proposing, is_training=flag)[0]) for flag in (True, False)]
    assert counts == [40, 30]


@pytest.mark.parametrize(("level", "count"), [([0, 1], 2), ([0, 0], 1)])
def test_proposals_of_one_map_leave_those_of_another(level, count):
    maps, anchors = (torch.zeros(1), torch.zeros(1)), TWO[:1].repeat(2, 1)
    output = ProposedRegions(maps, torch.zeros(1, 2), torch.zeros(1, 2, 4), anchors, torch.tensor(level))
    assert len(propose(output, WHOLE, FEW.proposing, is_training=True)[0]) == count


def test_where_no_proposal_is_left_the_image_is_one():
    output = ProposedRegions(
        (torch.zeros(1),),
        torch.zeros(1, 1),
        torch.zeros(1, 1, 4),
        torch.tensor([[80.0, 80.0, 90.0, 90.0]]),
        torch.zeros(1, dtype=torch.int64),
    )
    assert propose(output, WHOLE, FEW.proposing, is_training=True)[0].equal(WHOLE)


def select_from(boxes, scores, numbers=FPN, valid=WHOLE[0]):
    return select(torch.tensor(boxes)[:, None], torch.tensor(scores), valid, numbers)


def test_weaker_doubles_of_a_class_go_and_those_of_another_stay():
    box, near = [10.0, 10.0, 30.0, 30.0], [11.0, 10.0, 31.0, 30.0]
    found = select_from([box, near], [[0.9, 0.1], [0.8, 0.7]])
    assert [
        (label, round(score, 1)) for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ] == [
        (0, 0.9),
        (1, 0.7),
    ]
    assert found.boxes.tolist() == [box, near]


@pytest.mark.parametrize(("shift", "count"), [(2.5, 2), (2.9, 3)])
@pytest.mark.parametrize("label", [0, 21840])
def test_doubles_of_a_class_are_those_by_iou_whatever_its_number(label, shift, count):
    box = torch.tensor([100.0, 100.0, 108.0, 108.0])
    boxes = torch.stack([box, box + torch.tensor([shift, 0.0, shift, 0.0]), box + 892])  # IoU 0.52 or 0.47
    answer = {"boxes": [boxes], "labels": [torch.tensor([label, label, 0])], "score": [torch.tensor([0.9, 0.8, 0.7])]}
    assert len(join_boxes([answer], FPN)["boxes"][0]) == count


def test_what_lies_on_padding_is_no_answer_and_the_rest_is_clipped():
    valid = torch.tensor([8.0, 0.0, 40.0, 64.0])
    found = select_from([[0.0, 4.0, 20.0, 24.0], [50.0, 4.0, 60.0, 24.0]], [[0.9], [0.8]], valid=valid)
    assert found.boxes.tolist() == [[8.0, 4.0, 20.0, 24.0]]


def test_no_more_boxes_than_the_network_is_published_with_the_best_first():
    boxes = [[4.0 * i, 0.0, 4.0 * i + 3, 4.0] for i in range(12)]
    found = select_from(boxes, [[0.1 + 0.05 * i] for i in range(12)], numbers=replace(FPN, most=5))
    assert found.scores.tolist() == pytest.approx([0.65, 0.6, 0.55, 0.5, 0.45])


def test_scores_at_the_threshold_are_no_answer():
    assert len(select_from([[0.0, 0.0, 9.0, 9.0]], [[0.05]]).boxes) == 0


def test_perfect_output_is_the_truth_again():
    anchors, level = anchors_of(8, 8)
    nearest = iou(TWO, anchors).argmax(1)
    scores, deltas = torch.full((1, 128, 3), -9.0), torch.zeros(1, 128, 4)
    scores[0, nearest, torch.tensor([0, 1])] = 9.0
    deltas[0, nearest] = encode(TWO, anchors[nearest], WEIGHTS)
    found = answer_one_stage(
        AnchoredBoxes(scores, deltas, anchors, level), WHOLE, FOCAL, weights=WEIGHTS, num_classes=3
    )
    assert found[0].boxes == pytest.approx(TWO, abs=1e-4)
    assert found[0].labels.tolist() == [0, 1]


def test_nothing_is_an_answer_too():
    assert scenes(NONE)["boxes"][0].shape == (0, 4)
    found = select(torch.zeros(0, 1, 4), torch.zeros(0, 3), WHOLE[0], FPN)
    assert (found.boxes.shape, found.labels.shape, found.scores.shape) == ((0, 4), (0,), (0,))
