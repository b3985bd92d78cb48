"""AlexNet's towers, and what the later stages of the cascade see and say."""

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.models.pose.deeppose import crop_squares
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.types import DataInfo

JOINTS = 3


def cascade(**options):
    torch.manual_seed(0)
    return models.build("deeppose3", width=6, num_classes=JOINTS, torso=(1, 2), **options).eval()


class Says(nn.Module):
    """The same answer for every image, and the images it was shown."""

    def __init__(self, *answer):
        super().__init__()
        self.answer = torch.tensor(answer)
        self.seen = None

    def forward(self, image):
        self.seen = image
        return self.answer.expand(len(image), -1)


def staged(*answers):
    model = cascade()
    model.stages = nn.ModuleList(Says(*answer) for answer in answers)
    return model


def test_grouped_network_is_the_one_tower_without_weights_across():
    torch.manual_seed(0)
    grouped = models.build("deeppose_grouped", width=6).eval()
    whole = models.build("deeppose", width=6).eval()
    weights = grouped.state_dict()
    for name in ("conv2", "conv4", "conv5"):
        key = f"features.{name}.weight"
        first, second = weights[key].chunk(2)
        across = torch.zeros_like(first)
        weights[key] = torch.cat([torch.cat([first, across], dim=1), torch.cat([across, second], dim=1)])
    whole.load_state_dict(weights)
    image = torch.rand(2, 3, 99, 115)
    with torch.no_grad():
        torch.testing.assert_close(grouped(image), whole(image), rtol=1e-5, atol=1e-7)


def test_response_norm_stands_between_activation_and_pooling():
    kinds = [type(layer).__name__ for layer in models.build("deeppose", width=6).features.modules()]
    once = ["Conv2d", "ReLU", "Sequential", "LocalResponseNorm", "MaxPool2d"]
    assert kinds[1:11] == 2 * once


@pytest.mark.parametrize(("name", "classifier"), [("deeppose", "alexnet"), ("deeppose_grouped", "alexnet_grouped")])
def test_weights_of_alexnet_fit_up_to_the_last_layer(name, classifier):
    with torch.device("meta"):
        pose, alexnet = (models.build(each).state_dict() for each in (name, classifier))
    assert list(pose) == list(alexnet)
    other = [key for key in pose if pose[key].shape != alexnet[key].shape]
    assert other == ["head.fc8.weight", "head.fc8.bias"]


def test_image_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"\(66, 90\) \(H, W\); AlexNet reduces it by 32: give 67 or more"):
        models.build("deeppose", width=6)(torch.rand(1, 3, 66, 90))


def test_maps_are_alexnets():
    sizes = []
    with torch.device("meta"):
        model = models.build("deeppose")
        for layer in model.features:
            if not isinstance(layer, nn.ReLU):  # poolings follow their norms within one module
                layer.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[1:])))
        model(torch.empty(1, 3, 227, 227))
    expected = [(96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13)]
    assert sizes == [*expected, (384, 13, 13), (384, 13, 13), (256, 13, 13), (256, 6, 6)]


def test_square_around_a_point_has_its_pixels():
    """On a ramp every sampled value is its own place, in pixels from the edge."""
    columns = torch.arange(50.0) + 0.5
    rows = torch.arange(40.0) + 0.5
    image = torch.stack([columns.expand(40, 50), rows[:, None].expand(40, 50)])[None].double()
    centre = torch.tensor([[[0.1, -0.2], [-0.1, 0.1]]], dtype=torch.float64)  # pixels (30, 12) and (20, 24)
    squares = crop_squares(image, centre, torch.tensor([[10 / 50, 10 / 40]], dtype=torch.float64))
    steps = ((torch.arange(227, dtype=torch.float64) + 0.5) / 227 - 0.5) * 10
    for square, (x, y) in zip(squares, [(30, 12), (20, 24)], strict=True):
        torch.testing.assert_close(square[0], (x + steps).expand(227, 227))
        torch.testing.assert_close(square[1], (y + steps)[:, None].expand(227, 227))


def test_squares_reach_beyond_the_image_as_zeros():
    square = crop_squares(torch.ones(1, 1, 20, 20), torch.tensor([[[0.5, 0.0]]]), torch.tensor([[1.0, 1.0]]))
    assert square[0, 0, 113, :105].min() == 1
    assert not square[0, 0, :, 130:].any()


def test_later_stage_sees_squares_of_twice_the_torso_around_the_joints_before():
    """Joints 1 and 2 lie 12 pixels apart, so the squares are 24 pixels wide: a dot 6 pixels off is a quarter off."""
    joints = [(-0.25, 0.0), (0.05, -0.06), (0.05, 0.06)]
    model = staged([value for joint in joints for value in joint], 6 * [0.0], 6 * [0.0])
    image = torch.zeros(1, 1, 100, 100)
    for x, y in joints:
        image[0, 0, round(50 + 100 * y), round(50 + 100 * x)] = 1
    image[0, 0, 50, 31] = 2  # 6 pixels right of joint 0
    model(image)
    seen = model.stages[1].seen
    assert seen.shape == (JOINTS, 1, 227, 227)
    brightest = divmod(int(seen[0, 0].argmax()), 227)
    expected = (118, 227 * (0.5 + 6.5 / 24))  # the middle of the pixel lies half a pixel right of and below its corner
    assert brightest == pytest.approx(expected, abs=5)
    middle = divmod(int(seen[1, 0].argmax()), 227)
    assert middle == pytest.approx((118, 118), abs=5)


def test_answer_of_zero_leaves_every_joint_where_it_was():
    joints = (-0.25, 0.125, 0.0, -0.0625, 0.25, 0.5)
    stages = staged(joints, 6 * [0.0], 6 * [0.0])(torch.rand(2, 3, 80, 60)).coordinates
    assert [tuple(stage[1].tolist()) for stage in stages] == 3 * [joints]


def test_joint_in_the_middle_of_its_square_asks_for_no_displacement():
    """Where the first stage is right, zero is what the later ones have to say; where it errs, it is not."""
    task = PoseCoordinates(DataInfo(keypoints=("a", "b", "c")))
    batch = {
        "image": torch.rand(1, 3, 64, 128),
        "keypoints": torch.tensor([[[31.5, 39.5], [63.5, 27.5], [95.5, 63.5]]]),
        "visible": torch.ones(1, JOINTS, dtype=torch.bool),
    }
    right = (-0.25, 0.125, 0.0, -0.0625, 0.25, 0.5)
    losses = task.loss(staged(right, 6 * [0.0], 6 * [0.0])(batch["image"]), batch)
    assert [float(term.sum) for term in losses.values()] == [0, 0, 0]
    losses = task.loss(staged((0.0, *right[1:]), 6 * [0.0], 6 * [0.0])(batch["image"]), batch)
    assert [float(term.sum) for term in losses.values()] == 3 * [0.0625]


def test_joint_moves_by_its_own_answer_in_sides_of_its_square():
    """Torso from (0, -3) to (0, 3) pixels: squares are 12 pixels wide, 0.2 of the width and 0.1 of the height."""
    before = (0.0, 0.0, 0.0, -3 / 120, 0.0, 3 / 120)
    model = staged(before, (0.5, -0.5, 0.25, 0.0, 0.0, 1.0))
    after = model(torch.rand(1, 3, 120, 60)).coordinates[1]
    expected = torch.tensor([[0.1, -0.05, 0.05, -3 / 120, 0.0, 3 / 120 + 0.1]])
    torch.testing.assert_close(after, expected)


def test_each_joint_takes_its_own_answer_from_its_own_square():
    """In the square of joint k the network says 10 k + j of joint j."""

    class Numbers(nn.Module):
        def forward(self, squares):
            k = torch.arange(len(squares)).float() % JOINTS
            said = 10 * k[:, None] + torch.arange(JOINTS)
            return torch.stack([said, torch.zeros_like(said)], dim=2).flatten(1)

    model = staged(6 * [0.0], 6 * [0.0])
    model.stages[1] = Numbers()
    moved = model(torch.rand(2, 3, 70, 70)).coordinates[1] * 70 / 2  # of squares two pixels wide
    torch.testing.assert_close(moved, torch.tensor([[0.0, 0.0, 11.0, 0.0, 22.0, 0.0]]).expand(2, 6))


def test_pose_in_one_point_still_has_squares():
    stages = staged(6 * [0.0], 6 * [0.5])(torch.rand(1, 3, 70, 70)).coordinates
    torch.testing.assert_close(stages[1], torch.full((1, 6), 0.5 * 2 / 70))


def test_loss_of_a_stage_trains_its_own_network_only():
    model = cascade()
    stages = model(torch.rand(1, 3, 67, 67)).coordinates
    for i, stage in enumerate(stages):
        model.zero_grad()
        stage.sum().backward(retain_graph=True)
        trained = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert trained == {str(i)}


def test_single_network_is_the_first_stage():
    torch.manual_seed(1)
    single, model = models.build("deeppose", width=6, num_classes=JOINTS).eval(), cascade()
    model.stages[0].load_state_dict(single.state_dict())
    image = torch.rand(1, 3, 70, 80)
    with torch.no_grad():
        assert torch.equal(model(image).coordinates[0], single(image))


def test_new_network_answers_close_to_the_middle():
    torch.manual_seed(0)
    answer = models.build("deeppose", width=12).eval()(torch.rand(2, 3, 99, 99))
    assert 0 < float(answer.detach().abs().max()) < 0.2


def test_torso_of_lsp_is_taken_for_its_joints_only():
    assert models.build("deeppose3", width=6, num_classes=14).torso == (9, 2)
    with pytest.raises(RecipeError, match=r"has 17 joints and torso is not set.*: set model\.torso"):
        models.build("deeppose3", width=6, num_classes=17)


@pytest.mark.parametrize("torso", [(9, 2), (1,), (2, 2)])
def test_torso_that_the_pose_does_not_have_is_refused(torso):
    with pytest.raises(RecipeError, match=r"torso is .* and the pose has 3 joints, 0 to 2: name two opposite joints"):
        models.build("deeppose3", width=6, num_classes=JOINTS, torso=torso)
