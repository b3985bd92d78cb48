"""Classes and boxes by regression: what costs what, which answer is whose, and what is not learned."""

import pytest
import torch
from torch import nn

from tests.contracts.own_readers import OneThing
from unpool import models
from unpool.errors import DataError, RecipeError
from unpool.ops.preprocessing import Preprocessing
from unpool.task import Baseline, TrainingSetup
from unpool.tasks.localization import Localization
from unpool.training.step import total_loss
from unpool.types import DataInfo, LocatedBoxes

INFO = DataInfo(classes=("ant", "bee", "cat"))
HW = (8, 16)


def batch(*images, size_hw=HW, **flags):
    """Each image: (class, box) of its things."""
    boxes = [torch.tensor([box for _, box in things], dtype=torch.float32).reshape(-1, 4) for things in images]
    labels = [torch.tensor([label for label, _ in things], dtype=torch.int64) for things in images]
    return {"image": torch.zeros(len(images), 3, *size_hw), "boxes": boxes, "labels": labels, **flags}


def corners(*box):
    """A box of an image of HW as the network gives it."""
    return (torch.tensor(box) / torch.tensor([HW[1], HW[0]] * 2) - 0.5).tolist()


ONE = batch([(2, (4, 2, 12, 8))])


def test_boxes_cost_the_squared_distance_of_corners_in_sides_of_the_input():
    output = LocatedBoxes(torch.zeros(1, 3), torch.tensor([corners(8, 2, 12, 4)]))  # left is 4 of 16 off, bottom 4 of 8
    losses = Localization(INFO, box_weight=3.0).loss(output, ONE)
    assert float(losses["boxes"].sum) == pytest.approx(0.25**2 + 0.5**2)
    assert (float(losses["boxes"].count), losses["boxes"].weight) == (1, 3.0)
    assert float(losses["cross_entropy"].sum) == pytest.approx(torch.tensor(3.0).log())


def test_box_that_costs_nothing_is_answered_as_the_truth_where_bars_stand_beside_the_image():
    truth = batch([(2, (10, 20, 70, 40))], size_hw=(64, 64))
    truth |= {"size_hw": torch.tensor([[50, 100]]), "valid_xyxy": torch.tensor([[0.0, 16.0, 64.0, 48.0]])}
    scale = 64 / 100
    box = torch.tensor([10, 20, 70, 40]) * scale + torch.tensor([0, 16, 0, 16])
    output = LocatedBoxes(torch.zeros(1, 3), (box / 64 - 0.5)[None])
    task = Localization(INFO)
    assert float(task.loss(output, truth)["boxes"].sum) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(task.decode(output, truth)["boxes"][0], truth["boxes"][0])


def test_box_of_a_class_has_a_gradient_in_images_of_that_class_only():
    boxes = torch.rand(2, 3, 4, requires_grad=True)
    truth = batch([(2, (4, 2, 12, 8))], [(0, (0, 0, 5, 5))])
    Localization(INFO).loss(LocatedBoxes(torch.zeros(2, 3), boxes), truth)["boxes"].sum.backward()
    assert (boxes.grad.abs().sum(2) > 0).tolist() == [[False, False, True], [True, False, False]]


def test_answered_box_is_that_of_the_answered_class_and_each_next_class_has_its_own():
    boxes = torch.tensor([[corners(0, 0, 2, 2), corners(4, 2, 12, 8), corners(1, 1, 3, 3)]])
    found = Localization(INFO).decode(LocatedBoxes(torch.tensor([[0.0, 2.0, 1.0]]), boxes), ONE)
    assert found["labels"][0].tolist() == [1]
    assert found["top_labels"][0].tolist() == [[1, 2, 0]]
    assert found["boxes"][0].tolist() == [[4, 2, 12, 8]]
    assert found["top_boxes"][0].tolist() == [[[4, 2, 12, 8], [1, 1, 3, 3], [0, 0, 2, 2]]]
    assert found["score"][0].tolist() == pytest.approx(torch.tensor([0.0, 2.0, 1.0]).softmax(0)[[1]].tolist())


def test_answered_box_lies_within_the_image_with_its_corners_in_order():
    output = LocatedBoxes(torch.zeros(1, 3), torch.tensor([corners(12, 9, -3, 2)]))
    assert Localization(INFO).decode(output, ONE)["boxes"][0].tolist() == [[0, 2, 12, 8]]


LEFT, RIGHT = (0, 0, 4, 8), (12, 0, 16, 8)


def two(**options):
    return Localization(INFO, things=2, **options)


@pytest.mark.parametrize("per_class", [False, True])
def test_order_of_the_things_in_a_file_changes_no_loss(per_class):
    torch.manual_seed(0)
    output = LocatedBoxes(torch.rand(1, 2, 3), torch.rand(1, 2, *([3] if per_class else []), 4))
    one, other = (two().loss(output, batch(things)) for things in ([(0, LEFT), (1, RIGHT)], [(1, RIGHT), (0, LEFT)]))
    assert float(total_loss(one)) == pytest.approx(float(total_loss(other)), rel=1e-6)


def test_each_thing_gets_the_answer_that_costs_least_and_is_classified_by_it():
    scores = torch.tensor([[[0.0, 9.0, 0.0], [9.0, 0.0, 0.0]]])  # the first answer is a bee on the right
    output = LocatedBoxes(scores, torch.tensor([[corners(*RIGHT), corners(*LEFT)]]))
    losses = two().loss(output, batch([(0, LEFT), (1, RIGHT)]))
    assert float(losses["boxes"].sum) == 0
    assert float(losses["cross_entropy"].sum) < 0.01
    assert float(losses["cross_entropy"].count) == float(losses["boxes"].count) == 2


def test_surest_thing_is_answered_first():
    scores = torch.tensor([[[0.0, 1.0, 0.0], [9.0, 0.0, 0.0]]])
    found = two().decode(LocatedBoxes(scores, torch.tensor([[corners(*RIGHT), corners(*LEFT)]])), ONE)
    assert found["boxes"][0].tolist() == [list(LEFT), list(RIGHT)]
    assert [found[key][0].tolist() for key in ("labels", "top_labels")] == [[0, 1], [[0, 1, 2], [1, 0, 2]]]


def test_where_classes_name_the_things_each_answer_is_of_its_class():
    task = Localization(DataInfo(classes=("head", "tail")), things=2, order="class")
    output = LocatedBoxes(torch.zeros(1, 2, 2), torch.tensor([[corners(*RIGHT), corners(*LEFT)]]))
    assert float(task.loss(output, batch([(1, LEFT), (0, RIGHT)]))["boxes"].sum) == 0
    assert float(task.loss(output, batch([(0, LEFT), (1, RIGHT)]))["boxes"].sum) > 1
    sure = LocatedBoxes(torch.tensor([[[0.0, 0.0], [0.0, 9.0]]]), output.boxes)
    assert task.decode(sure, ONE)["boxes"][0].tolist() == [list(RIGHT), list(LEFT)]


def test_image_that_lost_its_thing_takes_no_part():
    output = LocatedBoxes(torch.rand(2, 3, requires_grad=True), torch.rand(2, 4, requires_grad=True))
    truth = batch([], [(1, LEFT)]) | {"size_hw": torch.tensor([[80, 40], HW])}
    whole = Localization(INFO).loss(output, truth)
    alone = Localization(INFO).loss(LocatedBoxes(output.scores[1:], output.boxes[1:]), batch([(1, LEFT)]))
    assert all(torch.equal(whole[name].sum, alone[name].sum) for name in alone)
    none = total_loss(Localization(INFO).loss(output, batch([], [])))
    none.backward()
    assert float(none.detach()) == 0
    assert not output.scores.grad.any()


def test_crowds_and_difficult_boxes_cost_nothing():
    flagged = batch([(0, RIGHT), (2, (4, 2, 12, 8))], crowd=[torch.tensor([True, False])])
    output = LocatedBoxes(torch.rand(1, 3), torch.rand(1, 4))
    task = Localization(INFO)
    assert float(total_loss(task.loss(output, flagged))) == float(total_loss(task.loss(output, ONE)))


class Set:
    """Samples with these things."""

    def __init__(self, *images, size_hw=HW):
        self.names = [f"{number}.jpg" for number in range(len(images))]
        self.sizes_hw = [size_hw] * len(images)
        values = batch(*images)
        self.boxes, self.labels = values["boxes"], values["labels"]

    def __len__(self):
        return len(self.names)

    def targets(self, index):
        return {"boxes": self.boxes[index], "labels": self.labels[index]}


def setup(*sets, **facts):
    return TrainingSetup(("image",), (), (), None, keeps_scale=False, sizes_hw=[], sets=sets, **facts)


def test_images_with_another_number_of_things_are_refused_by_name_with_their_numbers():
    train, val = Set([(0, LEFT)], [(0, LEFT)]), Set([(0, LEFT)], [], [(0, LEFT), (1, RIGHT)])
    assert Localization(INFO).warnings(setup(train)) == []
    with pytest.raises(DataError, match=r"task.things is 1, and of 3 images 1.jpg has 0 boxes, 2.jpg has 2 boxes:"):
        Localization(INFO).warnings(setup(train, val))


def test_images_that_lack_a_class_are_refused_where_classes_name_the_things():
    task = Localization(DataInfo(classes=("head", "tail")), things=2, order="class")
    with pytest.raises(DataError, match=r"one of each class, and of 1 images 0.jpg has boxes of the classes \[0, 0\]"):
        task.warnings(setup(Set([(0, LEFT), (0, RIGHT)])))


def test_boxes_alone_are_not_trained_on_new_weights():
    with pytest.raises(RecipeError, match=r"starts with new weights: set model.weights to those of"):
        Localization(INFO, learn="boxes").warnings(setup(starts_new=True))
    assert Localization(INFO, learn="boxes").warnings(setup()) == []
    assert Localization(INFO).warnings(setup(starts_new=True)) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"things": 7}, "task.things is 7; expected a number from 1 to 6"),
        ({"order": "class"}, "one thing of each of the 3 classes, and task.things is 1"),
        ({"box_weight": -1.0}, "task.box_weight is -1.0"),
        (
            {"preprocessing": Preprocessing(size_hw=(8, 8), rule="cover")},
            "cuts borders off on which boxes may lie",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(options, told):
    with pytest.raises(RecipeError, match=told):
        Localization(INFO, **options)
    with pytest.raises(RecipeError, match="class names"):
        Localization(DataInfo())


@pytest.mark.parametrize(
    ("scores", "boxes"), [((1, 4), (1, 4)), ((1, 3), (1, 2, 4)), ((1, 2, 3), (1, 2, 4)), ((1, 3), (1, 3, 5))]
)
def test_output_of_other_things_or_classes_is_refused(scores, boxes):
    with pytest.raises(RecipeError, match=r"where \(1, 1, 3\) \(images, things, classes\) were due"):
        Localization(INFO).loss(LocatedBoxes(torch.zeros(scores), torch.zeros(boxes)), ONE)
    with pytest.raises(RecipeError, match="gives a Tensor, and localisation needs scores and boxes"):
        Localization(INFO).loss(torch.zeros(1, 3), ONE)


def network():
    torch.manual_seed(0)
    return models.build("localizer", num_classes=3, width=4, hidden=8)


def learned(model, task):
    """Names of what a step of the task has changed."""
    task.freeze(model)
    step = nn.ModuleDict({"model": model, "task": task}).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    truth = batch([(2, (4, 2, 12, 8))], [(0, LEFT)], size_hw=(32, 32)) | {"image": torch.rand(2, 3, 32, 32)}
    optimizer = torch.optim.SGD([p for p in step.parameters() if p.requires_grad], lr=0.1)
    total_loss(task.losses(model, truth)).backward()
    optimizer.step()
    return {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("learn", "changed"),
    [("both", {"backbone", "head", "locate"}), ("classes", {"backbone", "head"}), ("boxes", {"locate"})],
)
def test_step_changes_what_is_to_be_learned_and_nothing_else_statistics_included(learn, changed):
    assert learned(network(), Localization(INFO, learn=learn)) == changed


def test_step_that_learns_classes_leaves_no_weight_without_a_gradient():
    model = network()
    learned(model, Localization(INFO, learn="classes"))
    assert all((weight.grad is not None) == weight.requires_grad for weight in model.parameters())


def test_network_whose_boxes_have_no_layers_of_their_own_cannot_be_frozen():
    with pytest.raises(RecipeError, match=r"task.learn is boxes, and the network has no module locate"):
        Localization(INFO, learn="boxes").freeze(nn.Linear(2, 3))


@pytest.mark.parametrize(("learn", "best"), [("both", "success_top1"), ("classes", "top1"), ("boxes", "success_top1")])
def test_best_weights_are_those_of_what_is_learned(learn, best):
    assert Localization(INFO, learn=learn).best == best


def test_success_of_five_classes_is_shown_where_there_are_more():
    assert "success" not in Localization(INFO).described
    assert "success" in Localization(DataInfo(classes=tuple("abcdef"))).described


def test_mean_box_and_the_most_frequent_class_are_what_a_network_is_compared_with():
    train = Set([(1, (0, 0, 8, 8))], [(1, (8, 0, 16, 8))], [(2, (4, 0, 12, 8))])
    val = Set([(1, (8, 0, 24, 16))], [(1, (0, 0, 4, 16))], [(2, (8, 0, 24, 16))], size_hw=(16, 32))
    made = Localization(INFO).baseline(train, val, {})
    assert made == Baseline("success_top1", 1 / 3, "bee, the most frequent class, with the mean box, as every answer.")
    assert Localization(INFO, learn="classes").baseline(train, val, {}).value == 2 / 3


RECORD = {"boxes": [[4.0, 2.0, 12.0, 5.0]], "labels": [2], "classes": ["cat"], "score": [0.875]}


def test_answer_is_written_drawn_and_shown_with_its_iou():
    task, image = Localization(INFO), torch.full((3, *HW), 90, dtype=torch.uint8)
    shown = task.exhibit(image, task_target := {key: ONE[key][0] for key in ("boxes", "labels")}, RECORD)
    assert shown.caption == "truth: cat, answer: cat, IoU 0.50"
    assert shown.is_right
    assert [label for label, _ in shown.pictures] == ["truth", "prediction"]
    assert not torch.equal(*(picture for _, picture in shown.pictures))
    assert not task.exhibit(image, task_target, {**RECORD, "labels": [1], "classes": ["bee"]}).is_right
    assert task.brief(RECORD) == "cat 0.88 at 4 2 12 5"
    assert task.thinned(RECORD, 2)["boxes"] == [[2.0, 1.0, 6.0, 2.5]]


def test_record_is_plain_numbers_and_names():
    task = Localization(INFO)
    found = task.decode(LocatedBoxes(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([corners(4, 2, 12, 8)])), ONE)
    record = task.record({key: value[0] for key, value in found.items()})
    assert (record["boxes"], record["labels"], record["classes"]) == ([[4.0, 2.0, 12.0, 8.0]], [2], ["cat"])
    assert record["top_labels"] == [[2, 1, 0]]


class Small(nn.Module):
    """Both heads on a hidden layer of one convolution."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.ReLU()
        )
        self.head, self.locate = nn.Linear(64, 2), nn.Linear(64, 4)

    def forward(self, image):
        hidden = self.hidden(image)
        return LocatedBoxes(self.head(hidden), self.locate(hidden))


def test_localization_learns_where_rectangles_are():
    torch.manual_seed(0)
    reader = OneThing(count=32)
    samples = [reader[index] for index in range(32)]
    truth = {key: [sample[key] for sample in samples] for key in ("boxes", "labels")}
    truth["image"] = torch.stack([sample["image"] for sample in samples]).float() / 100 - 1.2
    task, model = Localization(reader.info), Small()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        total_loss(task.losses(model, truth)).backward()
        optimizer.step()
    metric = task.metric()
    with torch.no_grad():
        metric.update(task.answer(model.eval(), truth), truth)
    assert metric.compute()["success_top1"] > 0.9
