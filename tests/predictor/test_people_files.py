"""Promises of a photograph of many people: all are found where they are, in the answer, the list and the picture."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unpool.ops.preprocessing import Preprocessing
from unpool.predictor import Predictor, files, write_predictions
from unpool.tasks.people import People
from unpool.types import DataInfo, FieldStages

NAN = float("nan")
INFO = DataInfo(keypoints=("head", "middle", "left_foot", "right_foot"), limbs=((0, 1), (1, 2), (1, 3)))
STRIDE = 4
SEEN_AT = 160  # side of the square that the network sees
# on a photograph of 400x240: one whole person, and one whose right foot is not known
PEOPLE = torch.tensor(
    [
        [[110.0, 40.0], [100.0, 120.0], [60.0, 210.0], [140.0, 200.0]],
        [[290.0, 60.0], [300.0, 130.0], [340.0, 205.0], [NAN, NAN]],
    ]
)
SIZE_HW = (240, 400)


class Knowing(nn.Module):
    """Perfect fields and heatmaps of people (N, K, 2) on a frame of `frame_hw`, whatever the image shows."""

    def __init__(self, people, frame_hw):
        super().__init__()
        self.people, self.frame_hw = people, torch.tensor([frame_hw])

    def forward(self, image):
        self.seen = image
        batch = {"image": image, "people": [self.people], "size_hw": self.frame_hw}
        fields, maps = People(INFO).labels(batch, [side // STRIDE for side in image.shape[-2:]])
        return FieldStages((fields,), (maps,))


def predictor_of(model, size_hw=(SEEN_AT, SEEN_AT), **options):
    return Predictor(model, Preprocessing(size_hw=size_hw, rule="fit"), INFO, People(INFO), **options)


def in_the_square():
    """The network that knows `PEOPLE`: on the square about the photograph, whose bars are 80 pixels high."""
    return Knowing(PEOPLE + torch.tensor([0.0, 80.0]), (400, 400))


def off(found):
    """Pixels between people as recorded and `PEOPLE`, at the most; who has which joint must agree."""
    places = torch.tensor([[at or (NAN, NAN) for at in one] for one in found])
    order = torch.cdist(PEOPLE[:, 0], places[:, 0]).argmin(1)
    assert places.shape == PEOPLE.shape
    assert places[order].isnan().equal(PEOPLE.isnan())
    return (places[order] - PEOPLE).abs().nan_to_num().max()


def dark(size_hw):
    return torch.zeros(3, *size_hw, dtype=torch.uint8)


def test_people_of_a_network_with_a_size_are_seen_in_a_square_and_put_back():
    model = in_the_square()
    answer = predictor_of(model).predict(dark(SIZE_HW))
    assert off(answer["people"]) < 2 * SIZE_HW[1] / SEEN_AT
    photo = (model.seen[0] < -1).all(0)  # black; the bars are grey
    assert model.seen.shape[-2:] == (SEEN_AT, SEEN_AT)
    assert photo[33:127].all()
    assert not photo[:31].any()
    assert not photo[129:].any()
    assert answer["notes"] == []


@pytest.mark.parametrize(("limit", "seen_hw"), [(100_000, SIZE_HW), (24_000, (120, 200))])
def test_people_of_a_network_without_a_size_are_seen_within_the_limit_and_put_back(limit, seen_hw):
    model = Knowing(PEOPLE, SIZE_HW)
    answer = predictor_of(model, None, limit=limit).predict(dark(SIZE_HW))
    assert tuple(model.seen.shape[-2:]) == seen_hw
    assert off(answer["people"]) < 2 * SIZE_HW[0] / seen_hw[0]
    told = [] if seen_hw == SIZE_HW else ["the network saw it made smaller, from 400x240 to 200x120 pixels"]
    assert answer["notes"] == told


def written(tmp_path):
    """The record of a dark photograph and its picture, (H, W) of the brightest channel."""
    Image.fromarray(np.zeros((*SIZE_HW, 3), np.uint8)).save(tmp_path / "dark.png")
    (record,) = write_predictions(predictor_of(in_the_square()), [tmp_path / "dark.png"], tmp_path / "out")
    return record, np.asarray(Image.open(tmp_path / "out" / record["view"])).max(2)


def test_people_are_listed_and_a_joint_that_is_missing_is_none(tmp_path):
    record, _ = written(tmp_path)
    (listed,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert listed == record
    assert off(listed["people"]) < 5
    assert [one[3] is None for one in sorted(listed["people"])] == [False, True]
    assert len(listed["score"]) == 2
    assert listed["joints"] == list(INFO.keypoints)


@pytest.mark.parametrize("step", [1, 2])
def test_skeletons_lie_on_the_people_of_a_picture_that_is_thinned_and_of_one_that_is_not(tmp_path, monkeypatch, step):
    monkeypatch.setattr(files, "VIEW_SIDE", SIZE_HW[1] // step)
    _, view = written(tmp_path)
    assert view.shape == (SIZE_HW[0] // step, SIZE_HW[1] // step)
    shown = ~PEOPLE.isnan().any(2)
    for person, has in zip(PEOPLE, shown, strict=True):
        limbs = [person[list(limb)].mean(0) for limb in INFO.limbs if has[list(limb)].all()]
        for x, y in (torch.stack([*person[has], *limbs]) / step).round().int().tolist():
            assert view[y - 2 : y + 3, x - 2 : x + 3].max() > 120
    drawn = torch.from_numpy(view > 60).nonzero().flip(1).float() * step  # (M, 2) x, y
    ends = [person[list(limb)] for person in PEOPLE for limb in INFO.limbs]
    line = torch.cat([a + (b - a) * torch.linspace(0, 1, 50)[:, None] for a, b in ends if not (a + b).isnan().any()])
    assert torch.cdist(drawn, line).amin(1).max() < 12, "nothing is drawn where no limb is, nor in the corner"
