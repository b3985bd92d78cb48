"""Promises of a photograph of people: its aspect is kept, and joints come back to where they are."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unpool.data.readers.person_crops import FILLS
from unpool.ops import preprocessing
from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor
from unpool.predictor.predictor import within
from unpool.tasks.pose import Pose
from unpool.tasks.pose_coordinates import PoseCoordinates
from unpool.types import DataInfo

INFO = DataInfo(keypoints=("red", "blue"))
COLOURS = tuple(value / 255 for value in FILLS[3])  # of the bars, too
SEEN = Preprocessing(size_hw=(64, 64), rule="fit", mean=COLOURS, std=(1.0,) * 3)
JOINTS = [[5.0, 30.0], [18.0, 9.0]]


class Spots(nn.Module):
    """Maps that are as high as the image is red, and as it is blue."""

    def forward(self, image):
        self.seen = image + torch.tensor(COLOURS)[:, None, None]
        red, green, blue = self.seen.unbind(1)
        return torch.stack((red - green - blue, blue - green - red), 1)


class Centres(Spots):
    """Coordinates of the middle of what is red and of what is blue, the image from -0.5 to 0.5."""

    def forward(self, image):
        maps = super().forward(image)
        height, width = image.shape[-2:]
        weight = (maps.clamp(min=0) ** 2).flatten(2)  # (B, 2, H*W)
        place = torch.arange(height * width)
        places = torch.stack([(place % width + 0.5) / width, (place // width + 0.5) / height], 1) - 0.5
        return ((weight @ places) / weight.sum(2, keepdim=True)).flatten(1)


def picture(height, width):
    """Two spots of 3x3 pixels about `JOINTS`, on what fills the bars."""
    image = torch.tensor(FILLS[3], dtype=torch.uint8)[:, None, None].repeat(1, height, width)
    for channel, (x, y) in zip((0, 2), JOINTS, strict=True):
        image[:, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 0
        image[channel, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 255
    return image


def found(image, model=None, task=Pose):
    predictor = Predictor(model or Spots(), SEEN, INFO, task(INFO))
    return torch.tensor(predictor.predict(image)["keypoints"])


@pytest.mark.parametrize(("model", "task"), [(Spots, Pose), (Centres, PoseCoordinates)])
@pytest.mark.parametrize(("height", "width"), [(40, 24), (40, 25), (36, 64), (35, 64)])
def test_joints_on_a_picture_and_on_the_same_with_bars_around_agree(height, width, model, task):
    image = picture(height, width)
    side = max(height, width)
    left, top = -round((width - side) / 2), -round((height - side) / 2)
    barred = torch.tensor(FILLS[3], dtype=torch.uint8)[:, None, None].repeat(1, side, side)
    barred[:, top : top + height, left : left + width] = image
    plain, around = found(image, model(), task), found(barred, model(), task)
    assert (plain - (around - torch.tensor([left, top]))).abs().max() < 1e-4
    assert (plain - torch.tensor(JOINTS)).abs().max() < 1


def test_network_sees_a_square_that_is_not_stretched():
    model = Spots()
    found(torch.full((3, 32, 64), 255, dtype=torch.uint8), model)
    white = (model.seen[0] > 0.999).all(0)
    assert white[16:48].all()
    assert not white[:16].any()
    assert not white[48:].any()


def test_network_of_own_sizes_sees_no_bars():
    model = Spots()
    predictor = Predictor(model, Preprocessing(mean=COLOURS, std=(1.0,) * 3), INFO, Pose(INFO))
    keypoints = torch.tensor(predictor.predict(picture(40, 24))["keypoints"])
    assert model.seen.shape[-2:] == (40, 24)
    assert (keypoints - torch.tensor(JOINTS)).abs().max() <= 1.5


def test_long_photograph_is_made_smaller_and_its_joints_are_put_back(monkeypatch):
    monkeypatch.setattr(preprocessing, "LONGEST", 50)
    small = picture(40, 24)
    image = small.repeat_interleave(5, 1).repeat_interleave(3, 2)  # (200, 72) -> (50, 18)
    expected = (torch.tensor(JOINTS) + 0.5) * torch.tensor([3, 5]) - 0.5
    assert (found(image) - expected).abs().max() < 4  # one pixel of the photograph made smaller


def test_long_photograph_without_a_size_of_its_own_is_made_smaller_told_of_and_its_joints_are_put_back():
    model = Spots()
    image = picture(40, 24).repeat_interleave(5, 1).repeat_interleave(3, 2)  # (200, 72)
    plain = Preprocessing(mean=COLOURS, std=(1.0,) * 3)
    answer = Predictor(model, plain, INFO, Pose(INFO), limit=4_000).predict(image)
    expected = (torch.tensor(JOINTS) + 0.5) * torch.tensor([3, 5]) - 0.5
    assert model.seen.shape[-2:] == (105, 38)
    assert (torch.tensor(answer["keypoints"]) - expected).abs().max() < 8  # within the spot
    assert answer["notes"] == ["the network saw it made smaller, from 72x200 to 38x105 pixels"]
    assert Predictor(model, plain, INFO, Pose(INFO)).predict(image)["notes"] == []
    assert model.seen.shape[-2:] == (200, 72)


@pytest.mark.parametrize("size_hw", [(30, 40), (7, 901), (1, 5000), (5000, 1), (1, 1)])
def test_photograph_has_no_more_pixels_than_the_limit(size_hw):
    height, width = size_hw
    rows, columns = within(size_hw, 1000)
    assert min(1000, height * width) * 0.8 <= rows * columns <= 1000


@pytest.mark.parametrize(
    ("model", "task", "multiple"), [(Spots, Pose, 1), (Spots, Pose, 48), (Centres, PoseCoordinates, 1)]
)
@pytest.mark.parametrize("rule", ["stretch", "fit"])
def test_joints_come_back_whatever_the_rule_and_the_padding(model, task, multiple, rule):
    chosen = replace(SEEN, size_hw=(96, 72), rule=rule, multiple=multiple)
    network = model()
    keypoints = Predictor(network, chosen, INFO, task(INFO)).predict(picture(40, 24))["keypoints"]
    assert network.seen.shape[-2:] == ((96, 72) if multiple == 1 else (96, 96))
    assert (torch.tensor(keypoints) - torch.tensor(JOINTS)).abs().max() < 1


def test_network_sees_the_photograph_stretched_where_it_was_trained_so():
    model = Spots()
    white = torch.full((3, 32, 64), 255, dtype=torch.uint8)
    Predictor(model, replace(SEEN, rule="stretch"), INFO, Pose(INFO)).predict(white)
    assert (model.seen > 0.999).all()
