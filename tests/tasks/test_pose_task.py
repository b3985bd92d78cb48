import math

import pytest
import torch
from torch import nn

from unpool import models
from unpool.errors import RecipeError
from unpool.ops import heatmaps
from unpool.ops.layout import Layout
from unpool.ops.preprocessing import Preprocessing
from unpool.tasks.joints import map_stride, map_strides, points_to_image, points_to_maps
from unpool.tasks.map_losses import as_scores, map_loss
from unpool.tasks.pose import LEAST_RADIUS, Pose
from unpool.tasks.pose_coordinates import WHOLE, PoseCoordinates
from unpool.training.step import total_loss
from unpool.types import CoordinateStages, DataInfo, Stages

NAMES = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck")
INFO = DataInfo(keypoints=NAMES, flip_pairs=((0, 1), (2, 3)), limbs=((0, 4), (1, 4), (0, 2), (1, 3)))


def batch_of(*, count=2, image_hw=(32, 48), size_hw=None, seed=0):
    height, width = size_hw or image_hw
    share = 0.2 + 0.6 * torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(seed))
    return {
        "image": torch.zeros(count, 3, *image_hw),
        "keypoints": share * torch.tensor([width, height]),
        "visible": torch.ones(count, 5, dtype=torch.bool),
        "size_hw": torch.tensor([[height, width]] * count),
    }


def perfect(task, batch, size_hw=(16, 24)):
    return task.labels(batch, size_hw)[0]


@pytest.mark.parametrize("label", ["gaussian", "disk"])
@pytest.mark.parametrize("size_hw", [None, (96, 144)])
def test_labels_are_read_back_as_the_joints_on_the_image_as_decoded(label, size_hw):
    batch = batch_of(size_hw=size_hw)
    task = Pose(INFO, label=label, size=2.0)
    found = task.decode(perfect(task, batch), batch)
    pixel = batch["size_hw"][0, 0] / 16  # one of the map, in pixels of the joints
    error = (found["keypoints"] - batch["keypoints"]).norm(dim=2) / pixel
    assert error.mean() < (0.25 if label == "gaussian" else 0.5)
    assert found["score"].shape == (2, 5)


def test_maps_lie_on_the_image_edge_to_edge():
    batch = batch_of(size_hw=(64, 96))
    batch["keypoints"][:] = torch.tensor([25.5, 9.5])  # (26, 10) from the corner: a map of a quarter has (6.5, 2.5)
    labels, _ = Pose(INFO, size=1.0).labels(batch, (16, 24))
    assert labels[0, 0].flatten().argmax() == 2 * 24 + 6
    assert labels[0, 0, 2, 6] == 1


@pytest.mark.parametrize(("sides", "stride"), [((65, 78), 4), ((90, 79), 8), ((50, 47), 2)])
@pytest.mark.parametrize("rounded", [math.floor, math.ceil])
def test_joints_are_where_they_were_on_an_image_that_no_stride_divides(sides, stride, rounded):
    maps_hw = tuple(rounded(side / stride) for side in sides)
    batch, task = batch_of(image_hw=sides, size_hw=(2 * sides[0], 2 * sides[1])), Pose(INFO, size=1.0)
    batch["keypoints"][:] = 2 * torch.tensor([30.0, 26.0]) + 0.5  # pixel (30, 26) of what the network sees
    labels = perfect(task, batch, maps_hw)
    place = labels[0, 0].flatten().argmax().item()
    assert (place % maps_hw[1], place // maps_hw[1]) == (30 // stride, 26 // stride)
    away = (task.decode(labels, batch)["keypoints"] - batch["keypoints"]).abs()
    assert away.max() <= 0.25 * 2 * stride + 1e-3


def covered_hw(batch, maps_hw):
    layout = Layout.of(batch)
    return layout.covered(maps_hw, map_strides(maps_hw, layout.input_hw))[1].flip(1)


@pytest.mark.parametrize("side", [48, 60, 96])
@pytest.mark.parametrize("stride", [0.5, 1, 2, 3, 4, 6, 12])
def test_maps_of_every_stride_that_divides_the_image_cover_it_to_the_bit(side, stride):
    batch = batch_of(image_hw=(side, 2 * side), size_hw=(101, 203))
    maps_hw = (int(side / stride), int(2 * side / stride))
    assert covered_hw(batch, maps_hw).equal(torch.tensor([[101.0, 203.0]] * 2))
    assert points_to_maps(batch["keypoints"], Layout.of(batch), maps_hw).equal(
        heatmaps.rescale(batch["keypoints"], batch["size_hw"], maps_hw)
    )


@pytest.mark.parametrize(
    ("name", "backbone"), [("hourglass1", None), ("simple_baselines", "resnet18"), ("simple_baselines", "vgg11")]
)
def test_a_pixel_of_the_maps_is_four_of_the_image_at_every_size(name, backbone):
    torch.manual_seed(0)
    small = {"width": 8} if backbone is None else {"width": 8, "widths": (8, 8, 8)}
    network = models.build(name, num_classes=5, backbone=backbone, **small).eval()
    for sides in ((65, 70), (90, 77), (64, 67), (80, 95), (120, 60)):
        batch = batch_of(image_hw=sides)
        with torch.inference_mode():
            maps = network(batch["image"])
        maps = maps.heatmaps[-1] if isinstance(maps, Stages) else maps
        expected = [4 * -(-side // 4) for side in sides]
        assert covered_hw(batch, maps.shape[-2:])[0].tolist() == pytest.approx(expected)


def stride_stated(name):
    row = models.MODELS[name]
    output = row.output if isinstance(row.output[0], int) else row.output[-1]
    return row.input[1] / output[1]


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        *((name, None) for name in ("hourglass1", "cpm", "cpm_vgg", "openpose", "fcgn")),
        *(("simple_baselines", name) for name in ("resnet18", "vgg11", "googlenet", "preresnet50", "cifar_resnet20")),
        *(("simple_baselines", f"timm/{name}") for name in ("mobilenetv3_small_050", "convnext_atto")),
    ],
)
def test_stride_told_from_sizes_is_the_one_that_the_network_states(name, backbone):
    if str(backbone).startswith("timm/"):
        pytest.importorskip("timm")
    known = models.known_options(name, backbone=backbone)
    narrow = {option: value for option, value in (("width", 8), ("widths", (8, 8, 8))) if option in known}
    network = models.build(name, backbone=backbone, num_classes=5, **narrow).eval()
    for sides in ((64, 71), (80, 95), (97, 120), (159, 200)):
        with torch.inference_mode():
            maps = network(torch.zeros(1, models.MODELS[name].input[0], *sides))
        maps = getattr(maps, "heatmaps", [maps])[-1]
        found = [map_stride(map_, side) for map_, side in zip(maps.shape[-2:], sides, strict=True)]
        assert found == [stride_stated(name)] * 2


def test_loss_of_perfect_maps_is_zero_and_of_empty_ones_one_half():
    batch, task = batch_of(), Pose(INFO, size=2.0)
    labels = perfect(task, batch, (64, 96))
    assert total_loss(task.loss(labels, batch)).item() == 0
    # the squares of a Gaussian add up to half of what it adds up to
    assert total_loss(task.loss(torch.zeros_like(labels), batch)).item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("loss", ["mse", "bce", "softmax"])
def test_joints_that_are_not_visible_have_no_loss(loss):
    batch, task = batch_of(), Pose(INFO, loss=loss)
    batch["visible"][0, 1] = False
    maps = torch.randn(2, 5, 16, 24, generator=torch.Generator().manual_seed(1), requires_grad=True)
    term = task.loss(maps, batch)["heatmaps"]
    assert term.count == 9
    (gradient,) = torch.autograd.grad(term.sum, maps)
    assert gradient[0, 1].abs().max() == 0
    assert gradient[0, 0].abs().max() > 0


def padded(*, count=2):
    """40x40 images mirrored at bottom and right up to 64x64."""
    box = torch.tensor([[0.0, 0, 40, 40]] * count)
    return batch_of(count=count, image_hw=(64, 64), size_hw=(40, 40)) | {"valid_xyxy": box}


@pytest.mark.parametrize(
    ("loss", "hidden"), [("mse", "ignore"), ("mse", "zero"), ("bce", "ignore"), ("bce", "zero"), ("softmax", "ignore")]
)
def test_padding_has_no_loss(loss, hidden):
    maps = torch.randn(2, 5, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    total_loss(Pose(INFO, loss=loss, hidden=hidden).loss(maps, padded())).backward()
    moved = maps.grad[0, 0] != 0
    assert moved[:10, :10].all()
    assert moved.sum() == 10 * 10


@pytest.mark.parametrize("label", ["gaussian", "disk"])
@pytest.mark.parametrize("loss", ["mse", "bce", "softmax"])
def test_answers_lie_on_the_image_however_high_the_padding_is(loss, label):
    task, batch = Pose(INFO, loss=loss, label=label, size=1.5), padded()
    maps = 9 * perfect(task, batch, (16, 16)) - 4
    expected = task.decode(maps, batch)
    maps[..., 10:, :] = 99
    maps[..., 10:] = 99
    answer = task.decode(maps, batch)
    assert torch.equal(answer["keypoints"], expected["keypoints"])
    assert torch.equal(answer["score"], expected["score"])
    error = (answer["keypoints"] - batch["keypoints"]).norm(dim=2)
    assert error.max() < 4


def test_disks_are_gathered_from_the_image_alone():
    task, batch = Pose(INFO, label="disk", size=2.0), padded()
    assert task.decode(torch.full((2, 5, 16, 16), -1.0), batch)["keypoints"].max() < 40
    batch["keypoints"][:] = torch.tensor([37.5, 21.5])
    error = (task.decode(perfect(task, batch, (16, 16)), batch)["keypoints"] - batch["keypoints"]).norm(dim=2)
    assert error.max() < 8


def test_peak_at_the_border_of_the_image_is_not_moved_away_from_padding():
    maps = torch.zeros(2, 5, 16, 16)
    maps[..., 5, 9] = 2
    maps[..., 4, 9] = 1
    maps[..., 5, 8] = 1
    assert Pose(INFO).decode(maps, padded())["keypoints"][0, 0].tolist() == [37.5, 20.5]


@pytest.mark.parametrize("loss", ["mse", "bce", "softmax"])
@pytest.mark.parametrize("image_hw", [(32, 48), (33, 47)])
def test_without_padding_loss_and_answers_are_those_of_all_pixels_to_the_bit(loss, image_hw):
    batch, task = batch_of(image_hw=image_hw), Pose(INFO, loss=loss)
    maps_hw = tuple(math.ceil(side / 4) for side in image_hw)
    maps = torch.randn(2, 5, *maps_hw, generator=torch.Generator().manual_seed(1))
    labels, _ = task.labels(batch, maps_hw)
    if loss == "softmax":
        expected = -((labels / labels.sum((2, 3), keepdim=True)).flatten(2) * maps.flatten(2).log_softmax(2)).sum(2)
    else:
        difference = (
            (maps - labels).square()
            if loss == "mse"
            else nn.functional.binary_cross_entropy_with_logits(maps, labels, reduction="none")
        )
        expected = difference.sum((2, 3)) / heatmaps.mass("gaussian", 2.0)
    assert torch.equal(task.loss(maps, batch)["heatmaps"].sum, expected.sum())
    points, score = heatmaps.decode(as_scores(maps, loss))
    answer = task.decode(maps, batch)
    assert torch.equal(answer["score"], score)
    assert torch.equal(answer["keypoints"], points_to_image(points, Layout.of(batch), maps_hw))


def test_hidden_joints_may_ask_for_an_empty_map():
    batch, task = batch_of(), Pose(INFO, hidden="zero")
    batch["visible"][0, 1] = False
    labels, known = task.labels(batch, (16, 24))
    assert labels[0, 1].sum() == 0
    assert known.all()
    full = labels.clone()
    full[0, 1] = 1.0
    assert total_loss(task.loss(full, batch)) > 0


def test_foreground_weighs_labelled_pixels_more():
    batch = batch_of(count=1)
    maps = torch.zeros(1, 5, 64, 96)
    plain, weighed = (task.loss(maps, batch)["heatmaps"].sum for task in (Pose(INFO), Pose(INFO, foreground=10.0)))
    # the cubes of a Gaussian add up to a third of what it adds up to: 1/2 + 9/3
    assert (weighed / plain).item() == pytest.approx((0.5 + 9 / 3) / 0.5, rel=0.02)


def test_foreground_does_not_weigh_the_background():
    batch = batch_of(count=1)
    maps = torch.randn(1, 6, 16, 24, generator=torch.Generator().manual_seed(0))
    terms = {}
    for background in (True, False):
        for foreground in (1.0, 10.0):
            task = Pose(INFO, foreground=foreground, background=background)
            terms[background, foreground] = task.loss(maps[:, : task.outputs], batch)["heatmaps"].sum
    added = [(terms[True, weight] - terms[False, weight]).item() for weight in (1.0, 10.0)]  # by the background
    assert added[0] > 0
    assert added[1] == pytest.approx(added[0], rel=1e-4)


def test_the_least_disk_meets_a_pixel_wherever_its_joint_lies():
    points = 3 + torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    points[0] = 3.5
    assert heatmaps.disks(points, (8, 8), LEAST_RADIUS).sum((1, 2)).min() >= 1


def test_cross_entropy_of_disks_is_that_of_each_pixel():
    batch, task = batch_of(count=1), Pose(INFO, label="disk", size=2.0, loss="bce")
    maps = torch.randn(1, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.binary_cross_entropy_with_logits(maps, perfect(task, batch), reduction="sum")
    term = task.loss(maps, batch)["heatmaps"]
    assert (term.sum * heatmaps.mass("disk", 2.0)).item() == pytest.approx(expected.item(), rel=1e-5)


def test_softmax_loss_is_least_where_the_map_is_the_label():
    batch, task = batch_of(count=1), Pose(INFO, loss="softmax")
    labels = perfect(task, batch)
    best = total_loss(task.loss(labels.clamp_min(1e-30).log(), batch))
    share = labels.flatten(2) / labels.sum((2, 3))[..., None]
    entropy = -(share * share.clamp_min(1e-30).log()).sum(2).mean()
    assert best.item() == pytest.approx(entropy.item(), rel=1e-4)
    assert total_loss(task.loss(torch.zeros_like(labels), batch)) > best


def test_every_stage_has_a_loss_with_its_weight():
    batch = batch_of()
    maps = torch.randn(2, 2, 5, 16, 24, generator=torch.Generator().manual_seed(0))
    single = [Pose(INFO).loss(one, batch)["heatmaps"] for one in maps]
    losses = Pose(INFO, stage_weights=[0.5, 2.0]).loss(Stages(tuple(maps)), batch)
    assert list(losses) == ["stage_1", "stage_2"]
    expected = sum(w * term.sum / term.count for w, term in zip((0.5, 2.0), single, strict=True))
    assert total_loss(losses).item() == pytest.approx(expected.item(), rel=1e-5)
    with pytest.raises(RecipeError, match="stage_weights has 1 numbers and the network 2 stages"):
        Pose(INFO, stage_weights=[1.0]).loss(Stages(tuple(maps)), batch)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [-1.0, 1.0], [math.nan], [math.inf, 1.0], ["1"]])
def test_stage_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(RecipeError, match=r"task\.stage_weights is \[.*it must be finite numbers"):
        Pose(INFO, stage_weights=weights)


def test_a_network_of_one_answer_has_one_stage():
    batch, maps = batch_of(), torch.zeros(2, 5, 16, 24)
    losses = [total_loss(Pose(INFO, stage_weights=weights).loss(maps, batch)) for weights in (None, [3.0])]
    assert losses[1].item() == pytest.approx(3 * losses[0].item())
    with pytest.raises(RecipeError, match="stage_weights has 3 numbers and the network 1 stages"):
        Pose(INFO, stage_weights=[1.0, 2.0, 3.0]).loss(maps, batch)


def test_background_is_one_less_the_highest_map():
    batch, task = batch_of(), Pose(INFO, background=True)
    labels, known = task.labels(batch, (16, 24))
    assert task.outputs == labels.shape[1] == known.shape[1] == 6
    assert torch.allclose(labels[:, 5] + labels[:, :5].amax(1), torch.ones(2, 16, 24))
    assert task.decode(labels, batch)["keypoints"].shape == (2, 5, 2)


@pytest.mark.parametrize(("hidden", "count"), [("ignore", 4 + 6), ("zero", 12)])
def test_background_is_not_known_where_a_joint_lies_that_nobody_sees(hidden, count):
    batch, task = batch_of(), Pose(INFO, hidden=hidden, background=True)
    batch["visible"][0, 1] = False
    labels, known = task.labels(batch, (16, 24))
    assert known[:, -1].tolist() == [hidden == "zero", True]
    maps = torch.randn(labels.shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    term = task.loss(maps, batch)["heatmaps"]
    assert term.count == count
    (gradient,) = torch.autograd.grad(term.sum, maps)
    assert [bool(one.any()) for one in gradient[:, -1]] == [hidden == "zero", True]


class Seer(nn.Module):
    """Stages of maps that are the image's own channels."""

    def forward(self, image):
        return Stages((image[:, :5] * 0, image[:, :5]))


@pytest.mark.parametrize("is_training", [True, False])
def test_stages_are_answered_by_the_last(is_training):
    model = Seer().train(is_training)
    image = torch.rand(2, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    output = Pose(INFO).forward(model, {"image": image})
    assert isinstance(output, Stages) is is_training
    assert (output.heatmaps[-1] if is_training else output).equal(image)


def test_flip_test_swaps_left_and_right():
    def mirror_proof(image):  # the same answer for an image and, sides swapped, its mirror
        maps = image[:, :1].expand(-1, 5, -1, -1) * torch.tensor([1.0, 3.0, 5.0, 7.0, 9.0]).view(1, 5, 1, 1)
        is_mirrored = image[:, :1, :, :4].sum() < image[:, :1, :, 4:].sum()
        return maps[:, [1, 0, 3, 2, 4]] if is_mirrored else maps

    class Fixed(nn.Module):
        def forward(self, image):
            return mirror_proof(image)

    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    image[..., :4] += 1
    plain, both = (Pose(INFO, flip_test=f).forward(Fixed().eval(), {"image": image}) for f in (False, True))
    assert torch.allclose(plain, both)


def test_flip_test_turns_the_maps_back():
    image = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    model = nn.Conv2d(3, 5, 1).eval()  # sees one pixel, so that the mirror changes nothing but the place
    with torch.no_grad():
        model.weight[:] = model.weight[[0, 0, 2, 2, 4]]
        model.bias[:] = model.bias[[0, 0, 2, 2, 4]]
    plain, both = (Pose(INFO, flip_test=f).forward(model, {"image": image}) for f in (False, True))
    assert torch.allclose(plain, both, atol=1e-6)


class Ideal(nn.Module):
    """Gaussians where the dots of the image's channels are, in maps of `stride`, sides as they look.

    The last channel grows to the right on an image that is not mirrored.
    """

    def __init__(self, stride, rounded):
        super().__init__()
        self.stride, self.rounded = stride, rounded

    def forward(self, image):
        size_hw = tuple(self.rounded(side / self.stride) for side in image.shape[-2:])
        maps = heatmaps.gaussians((middles(image[:, :-1]) + 0.5) / self.stride - 0.5, size_hw, 1.0)
        return maps[:, [1, 0, 3, 2, 4]] if image[0, -1, 0, 0] > image[0, -1, 0, -1] else maps


def middles(maps):
    """(B, K, 2): mean place x, y of what each map holds."""
    share = maps / maps.sum((2, 3), keepdim=True)
    columns, rows = (torch.arange(float(side)) for side in (maps.shape[3], maps.shape[2]))
    return torch.stack([share.sum(2) @ columns, share.sum(3) @ rows], dim=2)


@pytest.mark.parametrize(
    ("width", "stride", "rounded"),
    [(width, 8, math.floor) for width in (96, 97, 100, 103)] + [(width, 4, math.ceil) for width in (97, 102)],
)
def test_flip_test_moves_no_joint_where_the_stride_does_not_divide_the_width(width, stride, rounded):
    places = torch.tensor([[4.25, 4.25], [4.75, 6.25], [5.25, 4.75], [6.25, 5.75], [6.75, 6.75]])  # on the maps
    joints = (places[None] + 0.5) * stride - 0.5
    sense = torch.arange(float(width)).expand(1, 1, 96, width)
    batch = {"image": torch.cat([heatmaps.gaussians(joints, (96, width), 1.5), sense], dim=1)}
    model = Ideal(stride, rounded).eval()
    tasks = [Pose(INFO, flip_test=is_mirrored) for is_mirrored in (False, True)]
    plain, both = (task.forward(model, batch) for task in tasks)
    assert ((middles(both) - middles(plain)) * stride).abs().max() < 0.05  # pixels of the image
    found, mirrored = (task.decode(maps, batch)["keypoints"] for task, maps in zip(tasks, (plain, both), strict=True))
    assert torch.allclose(found, joints, atol=1e-3)
    assert torch.allclose(mirrored, joints, atol=1e-3)


def test_centre_stands_behind_the_image():
    seen = []

    class Looking(nn.Module):
        def forward(self, image):
            seen.append(image)
            return image

    task = Pose(INFO, centre=4.0, background=True)
    task.forward(Looking(), {"image": torch.zeros(2, 3, 9, 13)})
    assert task.added_channels == 1
    assert seen[0].shape == (2, 4, 9, 13)
    assert seen[0][1, 3].flatten().argmax() == 4 * 13 + 6
    assert seen[0][1, 3, 4, 6] == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 0.0}, "task.size is 0.0; expected a number from 0.1 to 1000"),
        ({"size": 1e5}, "task.size is 100000.0; expected a number from 0.1 to 1000"),
        ({"foreground": 1e30}, r"task.foreground is 1e\+30; expected"),
        ({"label": "disk", "size": 0.7}, "a disk of a radius below 0.71 holds no pixel"),
        ({"loss": "softmax", "foreground": 50}, "task.foreground is 50, which task.loss softmax does not know"),
        ({"loss": "softmax", "hidden": "zero"}, "a distribution, which is never empty"),
        ({"preprocessing": Preprocessing(size_hw=(8, 8), rule="cover")}, "use stretch"),
    ],
)
def test_pose_refuses_what_cannot_be_meant(options, told):
    with pytest.raises(RecipeError, match=told):
        Pose(INFO, **options)


def test_pose_refuses_maps_of_another_number():
    with pytest.raises(RecipeError, match=r"\(2, 4, 16, 24\) where \(B, 5, h, w\) was due"):
        Pose(INFO).loss(torch.zeros(2, 4, 16, 24), batch_of())
    with pytest.raises(RecipeError, match=r"\(2, 8\) where \(B, 10\) was due"):
        PoseCoordinates(INFO).loss(torch.zeros(2, 8), batch_of())


def test_coordinates_go_to_the_image_and_back():
    batch = batch_of(size_hw=(96, 144))
    layout, points = Layout.of(batch), batch["keypoints"]
    coordinates = layout.points_to_input(points, WHOLE)
    assert torch.allclose(layout.points_to_image(coordinates, WHOLE), points, atol=1e-4)
    assert coordinates.abs().max() < 0.5
    middle = torch.tensor([[[71.5, 47.5], [-0.5, 95.5]]] * 2)
    assert layout.points_to_input(middle, WHOLE).tolist() == [[[0.0, 0.0], [-0.5, 0.5]]] * 2


def test_coordinates_come_back_exactly():
    """To the last bit where sizes are powers of two, which the arithmetic does not round."""
    points = torch.arange(0, 64, 0.25).view(1, -1, 2)
    layout = Layout.of({"image": torch.zeros(1, 3, 32, 32), "size_hw": torch.tensor([[64, 128]])})
    assert torch.equal(layout.points_to_image(layout.points_to_input(points, WHOLE), WHOLE), points)
    assert torch.equal(layout.points_to_input(layout.points_to_image(points / 256, WHOLE), WHOLE), points / 256)


def test_coordinates_have_the_loss_of_visible_joints_of_every_stage():
    batch, task = batch_of(size_hw=(96, 144)), PoseCoordinates(INFO)
    wanted = Layout.of(batch).points_to_input(batch["keypoints"], WHOLE)
    wrong = wanted.clone()
    wrong[0, 1] += torch.tensor([0.3, 0.4])
    losses = task.loss(CoordinateStages((wanted.flatten(1), wrong.flatten(1))), batch)
    assert losses["stage_1"].sum == 0
    assert (losses["stage_2"].sum / losses["stage_2"].count).item() == pytest.approx(0.25 / 10)
    batch["visible"][0, 1] = False
    assert task.loss(wrong.flatten(1), batch)["coordinates"].sum == 0
    assert torch.allclose(task.decode(wanted.flatten(1), batch)["keypoints"], batch["keypoints"], atol=1e-4)


def test_coordinates_of_the_mirror_have_sides_swapped_and_x_turned():
    class Fixed(nn.Module):
        def forward(self, image):
            joints = torch.arange(10.0).view(1, 5, 2) / 20
            mirrored = joints[:, [1, 0, 3, 2, 4]] * torch.tensor([-1.0, 1.0])
            return (joints if image[0, 0, 0, 0] > image[0, 0, 0, -1] else mirrored).flatten(1)

    image = torch.zeros(1, 3, 8, 8)
    image[..., :4] = 1
    plain, both = (PoseCoordinates(INFO, flip_test=f).forward(Fixed().eval(), {"image": image}) for f in (False, True))
    assert torch.allclose(plain, both)


def test_skeleton_is_drawn_where_joints_are_visible():
    batch = batch_of(count=1, image_hw=(200, 200))
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    target = {"keypoints": batch["keypoints"][0], "visible": batch["visible"][0]}
    drawn = Pose(INFO).draw(image, target)
    x, y = batch["keypoints"][0, 0].round().int().tolist()
    assert drawn.shape == (3, 200, 200)
    assert drawn[:, y, x].min() == 255
    target["visible"] = torch.zeros(5, dtype=torch.bool)
    assert Pose(INFO).draw(image, target).sum() == 0


def test_best_is_what_the_joints_allow():
    assert Pose(INFO).best == "pck@0.2"
    assert Pose(DataInfo(keypoints=("nose", "tail"))).best == "pck_person@0.2"


@pytest.mark.parametrize("options", [{"loss": "softmax"}, {"foreground": 10.0}, {"label": "disk", "loss": "bce"}])
def test_pose_learns_to_find_dots(options):
    """Each joint is a dot of its own colour; a small network learns to point at it."""
    torch.manual_seed(0)
    info = DataInfo(keypoints=("left_shoulder", "right_hip", "neck"))
    joints = 4 + 16 * torch.rand(32, 3, 2)
    image = heatmaps.gaussians(joints, (24, 24), 1.2) + 0.1 * torch.randn(32, 3, 24, 24)
    batch = {"image": image, "keypoints": joints, "visible": torch.ones(32, 3, dtype=torch.bool)}
    model = nn.Sequential(nn.Conv2d(3, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 3, 5, padding=2))
    task, optimizer = Pose(info, size=1.5, **options), torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        total_loss(task.loss(task.forward(model.train(), batch), batch)).backward()
        optimizer.step()
    metric = task.metric()
    with torch.no_grad():
        metric.update(task.decode(task.forward(model.eval(), batch), batch), batch)
    assert metric.compute()["pck_person@0.2"] > 0.95
    assert metric.compute()["mean_error"] < 0.8


@pytest.mark.parametrize(
    ("map_", "image", "stride"),
    [(3, 27, 8), (4, 27, 8), (7, 15, 2), (8, 15, 2), (5, 15, 3), (16, 64, 4)],  # 27 / 3 is whole too, and no power
)
def test_stride_is_the_power_of_two_that_rounds_to_the_map(map_, image, stride):
    assert map_stride(map_, image) == stride


def test_label_that_misses_the_map_is_not_known_to_softmax():
    maps, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    labels[0, 0, 1, 2] = 1.0
    known, shown = torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 1, 4, 4)
    term = map_loss(maps, labels, known, shown=shown, loss="softmax", foreground=1.0, mass=1.0)
    assert (term.count, term.sum) == (1, pytest.approx(math.log(16)))
