"""R-CNN's second step: which regions its machines and its regression learn from, and the run that it leaves."""

import pytest
import torch

import unpool
from unpool import region_fitting
from unpool.errors import RecipeError
from unpool.models.detection.rcnn import Fitted
from unpool.ops.boxes import encode
from unpool.ops.linear_classifiers import fit_machine, fit_ridge
from unpool.region_fitting import Machine, Moves, fit_regions
from unpool.tasks.detection_truth import Truth
from unpool.types import ClassifiedRegions

CLASSES = ("red", "green")
TINY = {
    "data.reader": "box_scenes",
    "data.root": None,
    "data.count": 2,
    "data.workers": 0,
    "data.size": [67, 67],
    "data.proposals": {"grid": {"sides": [40, 40], "step": 0.6}},
    "model.width": 2,
    "train.batch": 2,
}


def truth_of(boxes, labels, others=()):
    return Truth(
        torch.tensor(boxes).reshape(-1, 4),
        torch.tensor(labels),
        torch.tensor(others).reshape(-1, 4),
        torch.tensor([0.0, 0, 64, 64]),
        torch.arange(len(boxes)),
        torch.Generator(),
    )


def test_machine_is_the_one_of_liblinears_problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=generator)
    is_positive = features[:, 0] + 0.3 * torch.randn(60, generator=generator) > 0.4
    weight, bias = fit_machine(features, is_positive, cost=0.05)
    unknown = torch.cat([weight, bias[None]]).double().requires_grad_()
    signs = 2 * is_positive.double() - 1
    margins = features.double() @ unknown[:-1] + unknown[-1]
    value = 0.5 * unknown[:-1].square().sum() + 0.05 * (1 - signs * margins).clamp(min=0).square().sum()
    value.backward()
    assert unknown.grad.abs().max() < 1e-3 * value.item()


@pytest.mark.parametrize("count", [4, 40])
def test_ridge_regression_is_where_its_gradient_ends_whether_tall_or_wide(count):
    generator = torch.Generator().manual_seed(0)
    features, targets = torch.randn(count, 9, generator=generator) + 3, torch.randn(count, 4, generator=generator)
    weight, bias = fit_ridge(features, targets, strength=7.0)
    off = features.double() @ weight.T.double() + bias - targets
    assert (off.T @ features.double() + 7 * weight).abs().max() < 1e-4
    assert off.sum(0).abs().max() < 1e-4


def test_negatives_of_a_class_are_proposals_that_overlap_it_by_less_than_three_tenths(monkeypatch):
    machines = [Machine(torch.ones(1, 1)) for _ in CLASSES]
    monkeypatch.setattr(Machine, "take", lambda self, features: setattr(self, "seen", features.flatten().tolist()))
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 3.1], [0, 0, 10, 2.9], [30, 30, 40, 40], [50, 50, 60, 60], [0, 10, 10, 20]]
    )
    truth = truth_of([[0.0, 0, 10, 10], [30, 30, 40, 40]], [0, 1], others=[[48.0, 48, 62, 62]])
    region_fitting._take_negatives(machines, torch.arange(6.0)[:, None], boxes, truth)
    assert machines[0].seen == [2, 3, 5]  # a thing of another class is one; what lies in a crowd is not
    assert machines[1].seen == [0, 1, 2, 5]


def test_proposals_near_a_thing_learn_to_move_to_the_one_that_they_overlap_most():
    moves = [Moves(torch.Generator()) for _ in CLASSES]
    boxes = torch.tensor([[0.0, 0, 10, 6.1], [0, 0, 10, 6], [30, 30, 40, 39], [0, 0, 60, 60]])
    truth = truth_of([[0.0, 0, 10, 10], [30, 30, 40, 40]], [0, 1])
    region_fitting._take_moves(moves, torch.arange(4.0)[:, None], boxes, truth)
    assert [one.features[0].flatten().tolist() for one in moves] == [[0], [2]]
    torch.testing.assert_close(moves[1].deltas[0], encode(truth.boxes[1:], boxes[2:3]))
    region_fitting._take_moves(moves, torch.arange(4.0)[:, None], boxes, truth_of([], []))
    assert [len(one) for one in moves] == [1, 1]


def test_regression_takes_no_more_rows_than_asked_for_drawn_from_all(monkeypatch):
    monkeypatch.setattr(region_fitting, "ROWS", 50)
    moves = Moves(torch.Generator().manual_seed(0))
    for start in range(0, 400, 40):
        numbers = torch.arange(start, start + 40.0)[:, None]
        moves.take(numbers, numbers.expand(-1, 4))
    weight, _ = moves.fit()
    kept = moves.features[0].flatten()
    assert len(moves) == len(kept) == 50
    assert kept.max() > 300
    assert kept.min() < 100
    assert torch.equal(moves.deltas[0][:, 0], kept)
    assert weight.shape == (4, 1)


def test_machine_takes_hard_negatives_alone_and_lets_go_of_easy_ones(monkeypatch):
    fitted = []

    def fit(features, is_positive, cost):
        fitted.append((int(is_positive.sum()), int((~is_positive).sum())))
        return torch.ones(1), torch.tensor(0.0)

    monkeypatch.setattr(region_fitting, "ADDED", 2)
    monkeypatch.setattr(region_fitting, "fit_machine", fit)
    machine = Machine(torch.tensor([[2.0]]))
    machine.take(torch.tensor([[-5.0], [-1.1], [0.5]]))  # the first ones are all taken, and fitted at once
    assert fitted == [(2, 3)]  # the loss of a true box counts twice
    assert machine.negatives.flatten().tolist() == pytest.approx([-1.1, 0.5])  # that of -5 has become easy
    machine.take(torch.tensor([[-1.05], [-0.9], [3.0]]))  # within the margin or beyond it: two
    assert machine.negatives.flatten().tolist() == pytest.approx([-1.1, 0.5, -0.9, 3.0])
    assert len(fitted) == 1
    machine.take(torch.tensor([[0.0]]))
    assert fitted[1:] == [(2, 5)]


def test_class_without_a_true_box_keeps_no_negatives():
    machine = Machine(torch.zeros(0, 1))
    machine.take(torch.zeros(9, 1))
    assert len(machine.negatives) == 0


class ByColour(torch.nn.Module):
    """Describes a region by where it is: fc7 is its mean colour, pool5 its size; so both can be computed by hand."""

    def __init__(self):
        super().__init__()
        self.fitted = Fitted(2, 3, len(CLASSES))

    def describe(self, maps, boxes):
        colours, sizes = [], []
        for image, of_image in zip(maps[0], boxes, strict=True):
            for left, top, right, bottom in of_image.tolist():
                colours.append(image[:, int(top) : int(bottom), int(left) : int(right)].mean((1, 2)))
                sizes.append(torch.tensor([right - left, bottom - top]))
        return torch.stack(sizes), torch.stack(colours)

    def classify(self, maps, boxes):
        return self.fitted(*self.describe(maps, boxes))


def test_fitted_network_tells_classes_apart_and_moves_boxes_towards_things(monkeypatch):
    monkeypatch.setattr(region_fitting, "COST", 100.0)
    monkeypatch.setattr(region_fitting, "STRENGTH", 1e-3)
    image = torch.zeros(1, 3, 64, 64)
    things = torch.tensor([[4.0, 4, 24, 24], [34, 34, 54, 54]])
    for number, (left, top, right, bottom) in enumerate(things.int().tolist()):
        image[0, number, top:bottom, left:right] = 1.0
    near = torch.cat([things + torch.tensor([0.0, 0, 0, grown]) for grown in (-4.0, 2, 4)])
    proposals = torch.cat([near, torch.tensor([[26.0, 2, 62, 30], [2, 34, 30, 62]])])
    batch = {"image": image, "boxes": [things], "labels": [torch.tensor([0, 1])], "proposals": [proposals]}
    network = ByColour()
    facts = fit_regions(network, lambda: [batch], CLASSES, seed=0)
    assert facts["positives"] == {"red": 1, "green": 1}
    assert facts["regressed"] == {"red": 3, "green": 3}
    assert all(count > 0 for count in facts["hard_negatives"].values())
    classified: ClassifiedRegions = network.classify((image,), [torch.cat([things, proposals[-2:]])])
    assert (classified.scores > 0).tolist() == [[True, False], [False, True], [False, False], [False, False]]
    moved = network.classify((image,), [near[-2:]]).deltas
    for number in (0, 1):
        expected = encode(things[number], near[-2:][number])
        torch.testing.assert_close(moved[number, number], expected, rtol=0, atol=0.02)


def test_class_without_things_is_never_answered_and_the_log_says_so(caplog):
    image = torch.rand(1, 3, 64, 64)
    batch = {"image": image, "boxes": [torch.tensor([[4.0, 4, 24, 24]])], "labels": [torch.tensor([0])]}
    batch |= {"proposals": [torch.tensor([[30.0, 30, 60, 60], [4, 4, 24, 26]])]}
    network = ByColour()
    fit_regions(network, lambda: [batch], CLASSES, seed=0)
    assert float(network.classify((image,), [torch.tensor([[4.0, 4, 24, 24]])]).scores[0, 1]) < -50
    assert "positives: none of green, so that these classes are never answered" in caplog.text


def test_run_is_measured_and_loaded_as_any_other(tmp_path):
    metrics = unpool.probe("bccd_rcnn_svm", TINY, by="svm", run=tmp_path / "run")
    assert metrics["training"]["by"] == "svm"
    assert set(metrics["training"]["positives"]) == {"disc", "square", "triangle"}
    assert unpool.evaluate(tmp_path / "run", {"data.memory": True})["loss"] == pytest.approx(metrics["loss"], rel=1e-5)
    record = unpool.load(tmp_path / "run")(torch.zeros(3, 70, 80, dtype=torch.uint8))[0]
    assert {"boxes", "labels", "score", "classes"} <= set(record)


@pytest.mark.parametrize(
    ("changes", "by", "text"),
    [
        ({}, "ridge", "by is ridge; the classes of R-CNN are decided by support vector machines"),
        ({"model.name": "rcnn_alexnet"}, "svm", "model rcnn_alexnet has nothing that is fitted: take rcnn_svm"),
    ],
)
def test_what_is_not_fitted_is_refused_before_data_is_read(changes, by, text, tmp_path):
    with pytest.raises(RecipeError, match=text):
        unpool.probe("bccd_rcnn_svm", {**TINY, **changes}, by=by, run=tmp_path / "run")
