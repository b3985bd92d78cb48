"""`task.loss`: which loss a task computes, and what its answers make of it."""

import pytest
import torch

from unpool.errors import DataError, RecipeError
from unpool.ops.layout import Layout
from unpool.ops.losses import pixel_cross_entropy, pixel_focal
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.set_losses import dice, lovasz_softmax
from unpool.tasks import segmentation
from unpool.tasks.classification import Classification
from unpool.tasks.denoising import Denoising
from unpool.tasks.localization import Localization
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.tasks.segmentation import Segmentation
from unpool.types import IGNORE, Auxiliary, DataInfo, LocatedBoxes

INFO = DataInfo(classes=("a", "b", "c"), keypoints=("x", "y"))


def masks():
    draws = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 3, (2, 6, 8), generator=draws)
    mask[0, 0] = IGNORE
    batch = {"image": torch.zeros(2, 3, 6, 8), "mask": mask, "size_hw": torch.tensor([[6, 8]] * 2)}
    return torch.randn(2, 3, 6, 8, generator=draws), batch | {"index": torch.arange(2)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("focal", lambda x, y: pixel_focal(x, y, gamma=3.0)),
        ("dice", dice),
        ("lovasz", lovasz_softmax),
        ("cross_entropy", pixel_cross_entropy),
    ],
)
def test_segmentation_computes_the_loss_of_its_name(name, expected):
    logits, batch = masks()
    options = {"focal_gamma": 3.0} if name == "focal" else {}
    losses = Segmentation(INFO, loss=name, **options).loss(logits, batch)
    assert list(losses) == [name]
    torch.testing.assert_close(losses[name].sum, expected(logits, batch["mask"]).sum)
    torch.testing.assert_close(losses[name].count, expected(logits, batch["mask"]).count)


def test_segmentation_adds_two_losses_for_every_head_and_weighs_pixels_in_one():
    logits, batch = masks()
    task = Segmentation(INFO, loss=["cross_entropy", "dice"], class_weights=[1.0, 2.0, 0.5])
    losses = task.loss(Auxiliary(logits, (logits / 2,)), batch)
    assert list(losses) == ["cross_entropy", "dice", "auxiliary_1_cross_entropy", "auxiliary_1_dice"]
    assert [term.weight for term in losses.values()] == [1.0, 1.0, 0.4, 0.4]
    weighted = pixel_cross_entropy(logits, batch["mask"], torch.tensor([1.0, 2.0, 0.5]))
    torch.testing.assert_close(losses["cross_entropy"].sum, weighted.sum)
    torch.testing.assert_close(losses["dice"].sum, dice(logits, batch["mask"]).sum)


def test_loss_over_an_image_is_the_same_however_few_scores_are_held_at_once(monkeypatch):
    logits, batch = masks()
    task = Segmentation(INFO, loss=["lovasz", "focal"])
    whole = task.loss(logits, batch)
    monkeypatch.setattr(segmentation, "BAND", 2 * 3 * 8)
    banded = task.loss(logits, batch)
    for name, term in whole.items():
        torch.testing.assert_close(banded[name].sum, term.sum)
        assert float(banded[name].count) == float(term.count)


@pytest.mark.parametrize("name", ["focal", "dice", "lovasz"])
def test_pixel_that_is_no_class_is_named(name):
    logits, batch = masks()
    batch["mask"][1, 2, 3] = 3
    with pytest.raises(DataError, match="sample 1"):
        Segmentation(INFO, loss=name).loss(logits, batch)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "jaccard"}, "task.loss is 'jaccard'; it must be one of cross_entropy, focal, dice, lovasz"),
        ({"loss": ["dice", "dice"]}, "a list of different ones"),
        ({"loss": []}, "task.loss is"),
        ({"loss": ["dice", "lovasz"], "class_weights": [1, 2, 3]}, "task.class_weights weigh pixels"),
        ({"focal_gamma": -1}, "task.focal_gamma is -1"),
    ],
)
def test_segmentation_refuses_losses_that_cannot_be(options, says):
    with pytest.raises(RecipeError, match=says):
        Segmentation(INFO, **options)


def test_probability_of_an_answer_is_what_its_loss_makes_of_a_score():
    logits = torch.tensor([[2.0, 1.0, -1.0]])
    scores = {
        loss: Classification(INFO, loss=loss).decode(logits, {})["score"].item()
        for loss in ("cross_entropy", "focal", "binary_cross_entropy")
    }
    assert scores["cross_entropy"] == scores["focal"] == pytest.approx(logits.softmax(1)[0, 0].item())
    assert scores["binary_cross_entropy"] == pytest.approx(torch.tensor(2.0).sigmoid().item())
    losses = Classification(INFO, loss="binary_cross_entropy", label_smoothing=0.1).loss(
        logits, {"label": torch.tensor([0])}
    )
    target = torch.tensor([[0.9, 0, 0]]) + 0.1 / 3
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    torch.testing.assert_close(losses["binary_cross_entropy"].sum, expected)


def test_classification_refuses_what_no_loss_knows():
    with pytest.raises(RecipeError, match=r"task\.label_smoothing is 0\.1, which task.loss focal does not know"):
        Classification(INFO, loss="focal", label_smoothing=0.1)
    with pytest.raises(RecipeError, match="it must be one of cross_entropy, focal, binary_cross_entropy"):
        Classification(INFO, loss="hinge")


def huber(d):
    return torch.where(d.abs() < 0.05, d**2 / 2, 0.05 * (d.abs() - 0.025))


KINDS = pytest.mark.parametrize(("loss", "of"), [("mse", torch.square), ("mae", torch.abs), ("huber", huber)])


def sizes(count):
    return {"image": torch.zeros(count, 3, 8, 8), "size_hw": torch.tensor([[8, 8]] * count)}


@KINDS
def test_coordinates_of_joints_cost_what_the_loss_says(loss, of):
    draws = torch.Generator().manual_seed(0)
    answer, points = torch.rand(2, 2, 2, generator=draws) - 0.5, 8 * torch.rand(2, 2, 2, generator=draws)
    batch = {**sizes(2), "keypoints": points, "visible": torch.tensor([[True, True], [True, False]])}
    term = PoseCoordinates(INFO, loss=loss).loss(answer.flatten(1), batch)["coordinates"]
    errors = of(answer - Layout.of(batch).points_to_input(points, (1, 1)))
    torch.testing.assert_close(term.sum, errors[batch["visible"]].sum())
    assert float(term.count) == 3


@KINDS
def test_corners_of_boxes_and_values_of_images_cost_what_the_loss_says(loss, of):
    located = LocatedBoxes(torch.zeros(1, 1, 3), torch.zeros(1, 1, 1, 4))
    truth = {"boxes": [torch.tensor([[2.0, 1, 7, 8]])], "labels": [torch.tensor([0])]}
    boxes = Localization(INFO, box_loss=loss).loss(located, sizes(1) | truth)["boxes"]
    torch.testing.assert_close(boxes.sum, of(torch.tensor([2.0, 1, 7, 8]) / 8 - 0.5).sum())
    plain = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)
    task = Denoising(INFO, loss=loss, **({"huber_delta": 0.05} if loss == "huber" else {}), preprocessing=plain)
    output = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    term = task.loss(output, sizes(2) | {"clean": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)})[loss]
    torch.testing.assert_close(term.sum, of(output).sum())
    assert float(term.count) == output.numel()


@pytest.mark.parametrize(("task", "key"), [(PoseCoordinates, "loss"), (Localization, "box_loss")])
def test_loss_that_is_none_is_refused(task, key):
    with pytest.raises(RecipeError, match=f"task.{key} is 'l1'; it must be one of mse, mae, huber"):
        task(INFO, **{key: "l1"})


def test_probabilities_of_classes_that_stand_alone_are_averaged_as_such():
    task = Classification(DataInfo(classes=("a", "b")), loss="binary_cross_entropy")
    probability = torch.tensor([[[0.9, 0.8]], [[0.5, 0.1]]])
    mean = task.averaged(list(probability.logit()))
    torch.testing.assert_close(task.decode(mean, {})["top_scores"], torch.tensor([[0.7, 0.45]]))
