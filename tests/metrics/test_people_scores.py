"""Limbs and people counted by hand."""

import pytest
import torch

from unpool.metrics.people import PeopleScores
from unpool.types import IGNORE, DataInfo

INFO = DataInfo(keypoints=("a", "b", "c", "d"), limbs=((0, 1), (1, 2), (2, 3)))
PERSON = torch.tensor([[[10.0, 10.0], [30.0, 10.0], [30.0, 50.0], [20.0, 50.0]]])  # limbs of 20, 40 and 10 pixels


def scores(predicted: torch.Tensor, reference: torch.Tensor = PERSON, **more: object) -> PeopleScores:
    metric = PeopleScores(INFO)
    metric.update({"people": [predicted], "score": [torch.ones(len(predicted))]}, {"people": [reference], **more})
    return metric


@pytest.mark.parametrize(("off", "right"), [(5.0, 3), (5.1, 2), (10.0, 2), (10.1, 1), (20.0, 1), (20.1, 0)])
def test_limb_is_right_up_to_half_of_its_length(off: float, right: int) -> None:
    computed = scores(PERSON + torch.tensor([off, 0.0])).compute()
    assert computed["limbs"] == computed["limbs_precision"] == pytest.approx(right / 3)


def test_merged_counts_are_sums() -> None:
    two = torch.cat([PERSON, PERSON + 100])
    whole, other = scores(PERSON), scores(PERSON + 7.0, two)  # 9.9 pixels: two limbs of three, of one person
    whole.merge(other)
    computed = whole.compute()
    assert computed["limbs"] == pytest.approx(5 / 9)
    assert computed["limbs_precision"] == pytest.approx(5 / 6)
    assert computed["people_ratio"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("ignored", "ratio"), [(1, 1.0), (2, 1.0), (3, 0.0)])
def test_person_is_ignored_where_more_than_half_of_its_joints_are_on_the_ignored(ignored: int, ratio: float) -> None:
    mask = torch.zeros(60, 60, dtype=torch.uint8)
    for x, y in PERSON[0, :ignored].long().tolist():
        mask[y, x] = IGNORE
    assert scores(PERSON, mask=[mask]).compute()["people_ratio"] == ratio


@pytest.mark.parametrize(("off", "ratio"), [(0.4, 0.0), (0.6, 1.0)])
def test_joint_is_on_the_ignored_where_its_nearest_pixel_is(off: float, ratio: float) -> None:
    mask = torch.zeros(60, 60, dtype=torch.uint8)
    for x, y in PERSON[0].long().tolist():
        mask[y, x] = IGNORE
    assert scores(PERSON + off, mask=[mask]).compute()["people_ratio"] == ratio


@pytest.mark.parametrize("off", [0.0, 2.0, 3.0])
def test_person_of_a_box_alone_has_the_area_that_people_cover_of_theirs(off: float) -> None:
    box, area = torch.tensor([[5.0, 5.0, 35.0, 55.0]]), torch.tensor([0.53 * 30 * 50])
    by_box, by_area = (
        scores(PERSON + off, **more).compute()["oks_ap"] for more in ({"boxes": [box]}, {"areas": [area]})
    )
    assert by_box == by_area
    assert (0 < by_box < 1) == (off > 0)
