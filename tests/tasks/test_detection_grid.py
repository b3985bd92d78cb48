"""YOLO v1's loss term by term against the paper's equation, written as loops, and what its cells answer."""

import logging

import pytest
import torch
from torch import nn

from tests.tasks.tiny_detectors import NONE, ONE, TWO, scenes
from unpool.errors import RecipeError
from unpool.models.detection.practice import YOLO
from unpool.ops.box_sides import SetBoxes
from unpool.ops.grid import cells_of, encode_in_cells
from unpool.tasks.detection import Detection
from unpool.tasks.detection_grid import answer_grid, crowded_cells, grid_losses, score_cells
from unpool.tasks.detection_truth import truths
from unpool.training.step import total_loss
from unpool.types import DataInfo, GridBoxes

INFO = DataInfo(classes=("red", "green", "blue"))
S, K, P, SIDE = 4, 3, 2, 64


def random_output(images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((K,), (P,), (P, 4))
    return GridBoxes(*(torch.rand(images, S, S, *shape, generator=generator).requires_grad_() for shape in shapes))


def perfect(things, labels):
    """What a network says that knows all."""
    output = GridBoxes(torch.zeros(1, S, S, K), torch.zeros(1, S, S, P), torch.zeros(1, S, S, P, 4))
    shares = things / SIDE
    cells = cells_of(shares, (S, S))
    for cell, box, label in zip(cells, encode_in_cells(shares, cells, (S, S)), labels, strict=True):
        at = (0, int(cell) // S, int(cell) % S)
        output.classes[at][label] = 1
        output.confidences[at][1] = 1
        output.boxes[at][1] = box
    return output


def losses_of(output, batch):
    return grid_losses(output, truths(batch, is_training=True), YOLO, input_hw=(SIDE, SIDE))


def overlap(a, b):
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def equation_3(output, things, labels):
    """The paper's loss of one image, each of whose cells has one thing at most."""
    classes, confidences, boxes = (part[0].tolist() for part in output)
    total, in_cell = 0.0, {}
    for thing, label in zip((things / SIDE).tolist(), labels.tolist(), strict=True):
        x, y = (thing[0] + thing[2]) / 2 * S, (thing[1] + thing[3]) / 2 * S
        in_cell[int(y), int(x)] = (thing, label, x - int(x), y - int(y))
    for row in range(S):
        for column in range(S):
            best = None
            if (row, column) in in_cell:
                thing, label, x, y = in_cell[row, column]
                ious = []
                for px, py, pw, ph in boxes[row][column]:
                    cx, cy, w, h = (column + px) / S, (row + py) / S, pw**2, ph**2
                    ious.append(overlap((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), thing))
                best = ious.index(max(ious))
                px, py, pw, ph = boxes[row][column][best]
                w, h = thing[2] - thing[0], thing[3] - thing[1]
                total += 5 * ((px - x) ** 2 + (py - y) ** 2 + (pw - w**0.5) ** 2 + (ph - h**0.5) ** 2)
                total += (confidences[row][column][best] - ious[best]) ** 2
                total += sum((p - (k == label)) ** 2 for k, p in enumerate(classes[row][column]))
            total += sum(0.5 * c**2 for j, c in enumerate(confidences[row][column]) if j != best)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_equation_3_of_the_paper(seed):
    output, batch = random_output(seed=seed), scenes(TWO)
    expected = equation_3(output, TWO, batch["labels"][0])
    assert float(total_loss(losses_of(output, batch)).detach()) == pytest.approx(expected, rel=1e-5)


def test_perfect_prediction_costs_nothing():
    batch = scenes(TWO)
    for term in losses_of(perfect(TWO, batch["labels"][0]), batch).values():
        assert float(term.sum) == pytest.approx(0, abs=1e-9)


def test_same_error_of_sides_costs_more_on_a_small_box():
    costs = []
    for side in (6.0, 30.0):
        middle = torch.tensor([[24.0, 24.0, 24.0, 24.0]])
        thing = middle + torch.tensor([-side, -side, side, side]) / 2
        wrong = thing + torch.tensor([-1.0, -1.0, 1.0, 1.0])
        batch = scenes(thing)
        costs.append(float(losses_of(perfect(wrong, batch["labels"][0]), batch)["boxes"].sum))
    assert costs[0] > 2 * costs[1] > 0


def test_target_of_confidence_is_the_iou_and_no_gradient_goes_into_the_box_through_it():
    output, batch = random_output(), scenes(ONE)
    term = losses_of(output, batch)["confidences"]
    gradients = torch.autograd.grad(term.sum, list(output), allow_unused=True)
    assert gradients[2] is None
    assert int((gradients[1] != 0).sum()) == 1


def test_classes_are_learned_in_cells_with_a_thing_alone():
    output, batch = random_output(), scenes(TWO)
    (gradient,) = torch.autograd.grad(losses_of(output, batch)["classes"].sum, [output.classes])
    cells = set(cells_of(TWO / SIDE, (S, S)).tolist())
    assert set(gradient.flatten(1, 2)[0].any(1).nonzero()[:, 0].tolist()) == cells


def test_things_of_one_cell_have_a_predictor_each_and_its_class_is_the_largest_ones():
    three = torch.tensor([[20.0, 20.0, 28.0, 28.0], [16.0, 16.0, 31.0, 31.0], [17.0, 18.0, 29.0, 30.0]])
    batch = scenes(three, labels=[torch.tensor([2, 2, 0])])
    output = random_output()
    losses = losses_of(output, batch)
    (gradient,) = torch.autograd.grad(losses["boxes"].sum, [output.boxes], retain_graph=True)
    assert gradient[0, 1, 1].abs().sum(1).bool().tolist() == [True, True]
    assert int(gradient.abs().sum(4).bool().sum()) == 2
    expected = (output.classes[0, 1, 1] - torch.tensor([0.0, 0.0, 1.0])).square().sum()
    torch.testing.assert_close(losses["classes"].sum, expected)


def test_losses_of_two_batches_add_up_to_those_of_one():
    output, both = random_output(images=2), scenes(TWO, ONE)
    whole = losses_of(output, both)
    for name, term in whole.items():
        parts = [
            losses_of(GridBoxes(*(o[i : i + 1] for o in output)), {k: v[i : i + 1] for k, v in both.items()})[name]
            for i in (0, 1)
        ]
        assert float(term.count) == 2
        torch.testing.assert_close(term.sum, parts[0].sum + parts[1].sum)


def test_image_without_things_is_background():
    losses = losses_of(output := random_output(), scenes(NONE))
    assert [float(losses[name].sum.detach()) for name in ("classes", "boxes", "confidences")] == [0, 0, 0]
    torch.testing.assert_close(losses["background"].sum, output.confidences.square().sum())
    assert losses["background"].weight == 0.5


def background_of(batch):
    """(S, S) bool: the cells whose confidences are drawn to 0."""
    output = random_output()
    (gradient,) = torch.autograd.grad(losses_of(output, batch)["background"].sum, [output.confidences])
    return gradient[0].all(2)


def test_crowds_are_no_background():
    crowd = torch.tensor([[0.0, 0.0, 32.0, 64.0]])
    is_background = background_of(scenes(crowd, crowd=[torch.tensor([True])]))
    assert not is_background[:, :2].any()
    assert is_background[:, 2:].all()


@pytest.mark.parametrize("left", [16.0, 26.0])
def test_cells_of_padding_alone_are_no_background_and_those_that_show_some_of_the_image_are(left):
    valid, size_hw = torch.tensor([[left, 0.0, 64.0, 64.0]]), torch.tensor([[64, int(64 - left)]])
    is_background = background_of(scenes(NONE, valid_xyxy=valid, size_hw=size_hw))
    assert not is_background[:, 0].any()
    assert is_background[:, 1:].all()


def test_cell_that_would_answer_for_a_small_difficult_thing_is_no_background():
    small = torch.tensor([[20.0, 34.0, 24.0, 38.0]])
    is_background = background_of(scenes(small, difficult=[torch.tensor([True])]))
    assert (~is_background).nonzero().tolist() == [[2, 1]]


def test_score_is_confidence_times_class_and_numbers_beyond_0_and_1_are_cut_off():
    output = perfect(ONE, torch.tensor([2]))
    output.confidences[output.confidences == 1] = 0.5
    output.classes[output.classes == 0] = -4.0
    output.classes[output.classes == 1] = 3.0
    output.confidences[output.confidences == 0] = -3.0
    (answer,) = answer_grid(output, torch.tensor([[0.0, 0, SIDE, SIDE]]), YOLO, input_hw=(SIDE, SIDE))
    assert (answer.scores.tolist(), answer.labels.tolist()) == ([0.5], [2])
    torch.testing.assert_close(answer.boxes, ONE)


def test_negative_confidence_is_no_score():
    output = GridBoxes(torch.full((1, S, S, K), 0.8), torch.full((1, S, S, P), -0.9), torch.ones(1, S, S, P, 4))
    assert not any(one.scores.any() for one in score_cells(output, input_hw=(SIDE, SIDE)))


class Grid(nn.Module):
    """A detector of one layer."""

    practice, box_weights = YOLO, (1.0, 1.0, 1.0, 1.0)

    def __init__(self, classes=K):
        super().__init__()
        torch.manual_seed(0)
        self.classes = classes
        self.conv = nn.Conv2d(3, classes + 5 * P, SIDE // S, SIDE // S)

    def forward(self, image):
        given = self.conv(image).permute(0, 2, 3, 1)
        classes, confidences, boxes = given.split([self.classes, P, 4 * P], dim=-1)
        return GridBoxes(classes, confidences, boxes.unflatten(-1, (P, 4)))


def test_task_learns_and_answers_on_the_image_as_decoded():
    task, network, batch = Detection(INFO), Grid(), scenes(TWO, ONE)
    assert set(task.losses(network, batch)) == {"classes", "boxes", "confidences", "background"}
    network.eval()
    with torch.inference_mode():
        small = task.answer(network, batch)["boxes"][0]
        large = task.answer(network, batch | {"size_hw": torch.full((2, 2), 128)})["boxes"][0]
        looked_at = task.looked_at(task.forward(network, task.inputs_of(batch)), batch)
    torch.testing.assert_close(large, 2 * small)
    assert 0 < len(looked_at[0]) <= S * S * P


def test_another_number_of_classes_is_refused():
    with pytest.raises(RecipeError, match="gives 4 scores a box where 3 were due"):
        Detection(INFO).losses(Grid(classes=4), scenes(ONE))


def test_things_that_share_a_cell_with_larger_ones_are_counted_for_the_log(caplog):
    things = torch.tensor([[16.0, 16.0, 31.0, 31.0], [20.0, 20.0, 28.0, 28.0], [17.0, 17.0, 29.0, 29.0]]).repeat(2, 1)
    size, samples = torch.full((6, 2), SIDE), torch.arange(2).repeat_interleave(3)
    of_set = SetBoxes(things, size, torch.tensor([0, 0, 0, 1, 1, 2]), samples, 0)
    assert crowded_cells(of_set, (S, S), P).startswith("2 of 6 boxes of the training set lie in one cell")
    assert crowded_cells(of_set._replace(samples=torch.arange(6)), (S, S), P) == ""
    task = Detection(INFO)
    task._set_boxes, task._is_compared = of_set, False
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            task.losses(Grid(), scenes(ONE))
    assert caplog.text.count("finer model.grid") == 1
