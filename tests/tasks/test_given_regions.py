"""Detection by a network that classifies given regions: R-CNN's and Fast R-CNN's losses and answers."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.ops import roi_pool

from tests.tasks.tiny_detectors import NONE, ONE, TWO, Body, TwoStages, scenes
from unpool.errors import RecipeError
from unpool.models.detection.practice import FAST, RCNN
from unpool.ops.boxes import iou
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Ensemble, Predictor
from unpool.tasks.detection import Detection
from unpool.tasks.detection_losses import draw_regions, second_stage_losses
from unpool.tasks.detection_truth import truths
from unpool.types import ClassifiedRegions, DataInfo, RegionMaps

INFO = DataInfo(classes=("red", "green", "blue"))
PROPOSALS = torch.tensor([[4.0, 6.0, 18.0, 20.0], [30.0, 28.0, 50.0, 54.0], [0.0, 0.0, 64.0, 64.0], [40.0, 2, 60, 12]])


class OfRegions(nn.Module):
    box_weights = (10.0, 10.0, 5.0, 5.0)

    def __init__(self, kind="exclusive"):
        super().__init__()
        self.practice, self.kind = (FAST if kind == "exclusive" else RCNN), kind
        self.body = Body(1)
        self.last = nn.Linear(16 * 9, 5 * (3 + (kind != "machines")))

    def forward(self, image):
        return RegionMaps((self.body(image)[0],))

    def classify(self, maps, boxes, input_hw):
        features = roi_pool(maps[0], boxes, 3, 1 / 8).flatten(1)
        values = self.last(features).unflatten(1, (-1, 5))
        return ClassifiedRegions(values[..., 0], None if self.kind == "still" else values[..., 1:])


def batch_of(*proposals):
    return scenes(TWO, ONE, proposals=list(proposals) or [PROPOSALS, PROPOSALS[:2]])


def losses_of(model, batch):
    return Detection(INFO).losses(model, batch)


def test_loss_has_two_terms_of_the_regions_that_are_given_and_reaches_every_weight():
    model = OfRegions().train()
    losses = losses_of(model, batch_of())
    assert set(losses) == {"classes", "boxes"}
    sum(term.sum for term in losses.values()).backward()
    assert all(p.grad is not None for p in (*model.last.parameters(), model.body.stem[0].weight))


def test_regions_that_stay_where_they_are_have_no_loss_of_boxes_and_are_answered_as_proposed():
    model = OfRegions("still").eval()
    model.practice = replace(RCNN, score=0.0, nms=1.0, most=1000)
    assert set(losses_of(model, batch_of())) == {"classes"}
    answer = Detection(INFO).answer(model, batch_of())
    proposed = {tuple(box) for box in PROPOSALS.tolist()}
    assert {tuple(box) for box in answer["boxes"][0].tolist()} == proposed
    assert len(answer["boxes"][0]) == 3 * len(PROPOSALS)


def test_margins_become_scores_in_their_order_and_move_the_box_of_their_class():
    model = OfRegions("machines").eval()
    model.practice = replace(RCNN, score=0.0, nms=1.0, most=1000)
    answer = Detection(INFO).answer(model, batch_of())
    batch = batch_of()
    with torch.no_grad():
        classified = model.classify(model(batch["image"]).maps, batch["proposals"], (64, 64))
    expected = classified.scores[: len(PROPOSALS)].sigmoid().flatten().sort(descending=True).values
    torch.testing.assert_close(answer["score"][0], expected)


def test_machines_are_not_trained_and_cost_their_squared_hinge():
    with pytest.raises(RecipeError, match=r"fitted to features and not trained.*unpool probe RECIPE --by svm"):
        losses_of(OfRegions("machines").train(), batch_of())
    scores = torch.tensor([[0.5, -2.0, 3.0], [-1.0, 0.0, 0.0]])
    output = ClassifiedRegions(scores, torch.zeros(2, 3, 4))
    (region,) = [draw_regions(ONE, one, replace(RCNN, samples=2)) for one in truths(scenes(ONE), is_training=False)]
    region = region._replace(boxes=ONE.repeat(2, 1), labels=torch.tensor([1, 0]), targets=ONE.repeat(2, 1))
    losses = second_stage_losses(output, [region], RCNN, weights=(1, 1, 1, 1), is_exclusive=False)
    assert float(losses["classes"].sum) == pytest.approx(0.5**2 + 0 + 4**2 + 0 + 1 + 1)
    assert float(losses["boxes"].sum) == 0


def test_scores_without_background_are_machines_of_given_regions_alone():
    with pytest.raises(RecipeError, match="3 scores"):
        losses_of(TwoStages(num_classes=2).eval(), batch_of())


def test_averaged_answers_are_of_the_proposals_that_the_set_has():
    model = OfRegions("still")
    model.practice = replace(RCNN, score=0.0, nms=1.0, most=1000)
    seen = Preprocessing(size_hw=(64, 64), proposals={"files": {}})  # which know no image but those of a set
    asked = Ensemble([Predictor(model, seen, INFO, Detection(INFO))], ["flip"])
    with asked.asking():
        answer = asked.prediction(torch.zeros(1, 3, 64, 64).byte(), torch.tensor([[64, 64]]), [PROPOSALS])
    assert {tuple(box) for box in answer["boxes"][0].tolist()} == {tuple(box) for box in PROPOSALS.tolist()}


def test_deltas_of_the_true_class_alone_are_compared():
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 1] = 5.0
    output = ClassifiedRegions(torch.zeros(1, 3), deltas)
    (region,) = [draw_regions(ONE, one, replace(RCNN, samples=2)) for one in truths(scenes(ONE), is_training=False)]
    region = region._replace(boxes=ONE, targets=ONE)
    costs = [
        float(
            second_stage_losses(
                output, [region._replace(labels=torch.tensor([label]))], RCNN, weights=(1, 1, 1, 1), is_exclusive=False
            )["boxes"].sum
        )
        for label in (1, 2, 3)
    ]
    assert costs == [0, pytest.approx(4 * 4.5), 0]


def test_no_proposals_are_refused_with_what_to_set():
    batch = {key: value for key, value in batch_of().items() if key != "proposals"}
    with pytest.raises(RecipeError, match=r"these have none: set data.proposals, such as selective_search"):
        losses_of(OfRegions(), batch)


def test_proposals_are_brought_to_the_input_and_cut_there_and_the_whole_image_stands_for_none():
    batch = batch_of(torch.tensor([[-9.0, 0, 40, 80], [70, 70, 90, 90]]), NONE)
    batch |= {"size_hw": torch.tensor([[128, 128]] * 2), "valid_xyxy": torch.tensor([[0.0, 0, 64, 64]] * 2)}
    seen = Detection(INFO).forward(OfRegions().eval(), batch)
    assert [one.tolist() for one in seen.proposals] == [[[0, 0, 20, 40], [35, 35, 45, 45]], [[0, 0, 64, 64]]]


def drawn(practice, proposals, truth=TWO):
    (one,) = truths(scenes(truth), is_training=False)
    return draw_regions(proposals, one, practice)


def many(generator=None):
    generator = torch.Generator().manual_seed(1)
    near = (TWO[:, None] + torch.randn(2, 150, 4, generator=generator) * 1.5).flatten(0, 1)
    low = torch.rand(300, 2, generator=generator) * 40
    return torch.cat([near, torch.cat([low, low + 4 + torch.rand(300, 2, generator=generator) * 20], dim=1)])


@pytest.mark.parametrize("practice", [FAST, RCNN])
def test_sixty_four_regions_of_an_image_are_drawn_of_which_sixteen_show_a_thing(practice):
    regions = drawn(practice, many())
    best = iou(TWO, regions.boxes).amax(0)
    assert len(regions.boxes) == 64
    assert int((regions.labels > 0).sum()) == 16
    assert (best[regions.labels > 0] >= 0.5).all()
    assert (best[regions.labels == 0] < 0.5).all()


def test_background_of_fast_rcnn_nearly_shows_a_thing_where_there_is_such():
    best = iou(TWO, drawn(FAST, many()).boxes).amax(0)
    assert (best >= 0.1).all()
    assert (iou(TWO, drawn(RCNN, many()).boxes).amax(0) < 0.1).any()
    far = torch.tensor([[40.0, 2.0, 60.0, 12.0]])
    assert (drawn(FAST, far).labels == 0).sum() == 1
    assert len(drawn(FAST, far, truth=NONE).labels) == 1
