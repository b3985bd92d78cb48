"""Scores of limbs and people, added up by hand."""

import pytest
import torch

from unpool.ops.fields import affinity_fields
from unpool.ops.heatmaps import gaussians
from unpool.ops.parsing import Peaks, match, parse

NAN = float("nan")


def maps_of(people, limbs, size_hw=(40, 64)):
    joints = gaussians(people, size_hw, 2.0).amax(0)
    return joints, affinity_fields(people, limbs, size_hw, 1.5)


def limb(agreeing, *, value=1.0, rest=0.0, longest=99.0):
    """Pairs of a limb of 10 pixels of which the first `agreeing` point along it by `value`, the others by `rest`."""
    field = torch.zeros(2, 1, 10)
    field[0, 0] = torch.where(torch.arange(10) < agreeing, value, rest)
    start, end = (Peaks(torch.tensor([[x, 0.0]]), torch.ones(1)) for x in (0.0, 9.0))
    return match(field, start, end, longest=longest)


@pytest.mark.parametrize("joints", [3, 4])
def test_score_of_a_person_is_its_peaks_and_limbs_by_all_joints_of_the_skeleton(joints):
    limbs = [(0, 1), (1, 2), (2, 3)]
    person = torch.tensor([[[8.0, 20.0], [20.0, 20.0], [32.0, 20.0], [44.0, 20.0]]])
    person[0, joints:] = NAN
    (score,) = parse(*maps_of(person, limbs), limbs).scores
    assert score == pytest.approx((joints + joints - 1) / 4, rel=0.02)  # each peak and each limb counts 1


def test_halves_of_a_person_that_a_limb_joins_keep_the_scores_of_both():
    limbs = [(0, 1), (2, 3), (1, 2)]  # the last one joins two bodies
    person = torch.tensor([[[8.0, 20.0], [20.0, 20.0], [32.0, 20.0], [44.0, 20.0]]])
    people = parse(*maps_of(person, limbs), limbs)
    assert people.scores.tolist() == pytest.approx([(4 + 3) / 4], rel=0.02)
    assert (people.joints - person).abs().max() < 0.3


LINE = [(0, 1), (1, 2), (2, 3)]


def scores_of(rows, size_hw=(64, 64)):
    """Of people in rows, each (weight of its peaks and limbs, joints that it shows of four)."""
    maps, fields = torch.zeros(4, *size_hw), torch.zeros(6, *size_hw)
    for number, (weight, joints) in enumerate(rows):
        person = torch.tensor([[[x, 6.0 + 16 * number] for x in (8.0, 20.0, 32.0, 44.0)]])
        person[0, joints:] = NAN
        joint_maps, limb_fields = maps_of(person, LINE, size_hw)
        maps, fields = maps.maximum(weight * joint_maps), fields + weight * limb_fields
    return parse(maps, fields, LINE).scores.tolist()


def test_people_are_sorted_by_their_sums_and_not_by_their_means():
    whole, part = 0.6 * 7, 0.8 * 5  # 4.2 of four joints, 4.0 of three
    assert scores_of([(0.8, 3), (0.6, 4)]) == pytest.approx([whole / 4, part / 4], rel=0.02)


@pytest.mark.parametrize(("weight", "is_person"), [(0.13, True), (0.11, False)])  # 0.217 and 0.183 by visible joint
def test_person_needs_a_score_of_a_fifth_by_joint_that_it_shows(weight, is_person):
    assert scores_of([(weight, 3)]) == pytest.approx([weight * 5 / 4] if is_person else [], rel=0.02)


@pytest.mark.parametrize(("height", "share"), [(80, 1.0), (24, 1.0), (16, 8 / 12)])
def test_limb_longer_than_half_of_the_height_counts_less(height, share):
    people = torch.tensor([[[8.0, 8.0], [20.0, 8.0], [32.0, 8.0]]])  # limbs of 12 pixels
    limbs = LINE[:2]
    (score,) = parse(*maps_of(people, limbs, (height, 64)), limbs).scores
    assert score == pytest.approx((3 + 2 * share) / 3, rel=0.02)


@pytest.mark.parametrize(("agreeing", "is_limb"), [(10, True), (9, True), (8, False), (0, False)])
def test_limb_needs_more_than_four_fifths_of_its_samples_to_agree(agreeing, is_limb):
    assert bool(limb(agreeing)) is is_limb


@pytest.mark.parametrize("rest", [0.0, 0.04, -1.0])
def test_score_of_a_limb_is_the_mean_of_the_samples_that_agree(rest):
    (pair,) = limb(9, value=0.5, rest=rest)
    assert pair.score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("longest", "score"), [(18.0, 1.0), (9.0, 1.0), (6.0, 2 / 3), (1.0, 1 / 9), (0.0, None)], ids=str
)
def test_score_of_a_limb_is_reduced_by_the_share_that_is_too_long_and_not_raised(longest, score):
    assert [pair.score for pair in limb(10, longest=longest)] == pytest.approx([] if score is None else [score])


def test_joints_of_one_pixel_make_no_limb():
    spot = Peaks(torch.tensor([[3.0, 0.0]]), torch.ones(1))
    assert match(torch.ones(2, 1, 10), spot, spot, longest=9.0) == []
