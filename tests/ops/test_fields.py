import pytest
import torch

from unpool.ops import fields, heatmaps, parsing
from unpool.ops.skeleton import LSP_LIMBS

LIMBS = ((0, 1), (1, 2))
NAN = float("nan")


def person(*points):
    return torch.tensor(points)


def maps_of(people, limbs, size_hw, *, sigma=1.0, width=1.0):
    joints = heatmaps.gaussians(people, size_hw, sigma).amax(0)
    return joints, fields.affinity_fields(people, limbs, size_hw, width)


def integral(field, start, end):
    return fields.along_lines(field, torch.tensor([start]), torch.tensor([end])).mean().item()


def test_integral_over_a_limb_is_one_and_back_minus_one():
    field = fields.affinity_fields(person([6.0, 5.0], [30.0, 23.0])[None], ((0, 1),), (32, 40), 2.0)
    assert integral(field, [6.0, 5.0], [30.0, 23.0]) == pytest.approx(1.0, abs=1e-5)
    assert integral(field, [30.0, 23.0], [6.0, 5.0]) == pytest.approx(-1.0, abs=1e-5)
    assert abs(integral(field, [6.0, 25.0], [36.0, 3.0])) < 0.1


def test_field_is_a_unit_vector_on_the_limb_and_nothing_beside_it():
    field = fields.affinity_fields(person([4.0, 8.0], [14.0, 8.0])[None], ((0, 1),), (16, 20), 2.0)
    covered = field.norm(dim=0) > 0
    assert covered.sum() == 11 * 5  # both ends, two pixels to each side
    assert covered[6:11, 4:15].all()
    assert torch.allclose(field[0][covered], torch.tensor(1.0))
    assert field[1].abs().max() == 0


def test_field_is_averaged_where_people_overlap():
    across, down = person([2.0, 8.0], [14.0, 8.0]), person([8.0, 2.0], [8.0, 14.0])
    field = fields.affinity_fields(torch.stack([across, down]), ((0, 1),), (16, 16), 1.0)
    assert field[:, 8, 8].tolist() == [0.5, 0.5]
    assert field[:, 8, 3].tolist() == [1.0, 0.0]
    assert field[:, 3, 8].tolist() == [0.0, 1.0]


def test_limb_with_an_unknown_joint_has_no_field():
    people = torch.tensor([[[2.0, 2.0], [NAN, NAN], [9.0, 9.0]]])
    assert fields.affinity_fields(people, LIMBS, (12, 12), 1.0).abs().max() == 0
    assert fields.affinity_fields(people[:0], LIMBS, (12, 12), 1.0).shape == (4, 12, 12)


def test_two_crossing_people_are_told_apart():
    people = torch.stack(
        [person([5.0, 5.0], [20.0, 20.0], [34.0, 34.0]), person([34.0, 6.0], [20.0, 22.5], [6.0, 34.0])]
    )
    found = parsing.parse(*maps_of(people, LIMBS, (40, 40)), LIMBS)
    assert len(found.joints) == 2
    order = [0, 1] if found.joints[0, 0, 0] < 20 else [1, 0]
    assert (found.joints[order] - people).norm(dim=2).max() < 0.4


def test_peaks_are_the_highest_of_their_neighbours_and_above_the_threshold():
    points = torch.tensor([[[5.2, 5.0]], [[12.0, 9.0]]])
    maps = heatmaps.gaussians(points, (16, 20), 1.5).amax(0)
    maps = torch.cat([maps, 0.09 * maps])
    high, low = parsing.find_peaks(maps)
    assert high.points.tolist() == [[5.25, 5.0], [12.0, 9.0]]
    assert high.scores[1] == 1
    assert len(low.points) == 0


def test_of_more_peaks_than_count_the_highest_are_kept_row_by_row():
    maps = torch.zeros(2, 30, 40)
    heights = 0.2 + 0.8 * torch.rand(15, 20, generator=torch.Generator().manual_seed(0))
    maps[0, ::2, ::2] = heights
    maps[1, :12:2, ::2] = heights[:6]
    many, few = parsing.find_peaks(maps)
    assert (len(many.scores), len(few.scores)) == (parsing.MOST, 120) == (128, 120)
    assert many.scores.sort().values.equal(heights.flatten().sort().values[-128:])
    rows = many.points.round()[:, 1]
    assert (rows.diff() >= 0).all()
    places = (many.points / 2).round().long()
    assert heights[places[:, 1], places[:, 0]].equal(many.scores)


def test_each_peak_is_in_one_pair_and_the_best_pair_comes_first():
    field = torch.zeros(2, 10, 20)
    field[0] = 1.0
    starts = parsing.Peaks(torch.tensor([[2.0, 5.0], [2.0, 8.0]]), torch.ones(2))
    ends = parsing.Peaks(torch.tensor([[12.0, 5.0]]), torch.ones(1))
    (pair,) = parsing.match(field, starts, ends, longest=20.0)
    assert (pair.first, pair.second) == (0, 0)
    assert pair.score == pytest.approx(1.0)
    (far,) = parsing.match(field, parsing.Peaks(starts.points[:1], torch.ones(1)), ends, longest=5.0)
    assert far.score == pytest.approx(0.5)  # twice as long as a limb may be
    assert not parsing.match(-field, starts, ends, longest=20.0)


def test_person_of_two_joints_is_dropped():
    people = torch.tensor([[[5.0, 5.0], [20.0, 20.0], [NAN, NAN]]])
    maps, field = maps_of(people, LIMBS, (40, 40))
    assert len(parsing.parse(maps, field, LIMBS).joints) == 0


def crowd(count=30):
    """People in LSP's joints on a grid, as wide as they are high."""
    generator = torch.Generator().manual_seed(0)
    body = torch.tensor(
        [
            *([-2.0, 12.0], [-2.0, 8.0], [-1.5, 4.0], [1.5, 4.0], [2.0, 8.0], [2.0, 12.0]),
            *([-6.0, 2.0], [-4.5, -1.0], [-2.0, -3.0], [2.0, -3.0], [4.5, -1.0], [6.0, 2.0], [0.0, -4.0], [0.0, -8.0]),
        ]
    )
    places = torch.tensor([[12.0 + 16 * (i % 6), 12.0 + 22 * (i // 6)] for i in range(count)])
    return places[:, None] + body + 0.6 * torch.randn(count, 14, 2, generator=generator)


def test_thirty_people_are_parsed():
    people = crowd()
    maps, field = maps_of(people, LSP_LIMBS, (120, 108))
    found = parsing.parse(maps, field, LSP_LIMBS)
    assert len(found.joints) == 30
    nearest = torch.cdist(found.joints[:, 12], people[:, 12]).argmin(1)
    assert nearest.sort().values.tolist() == list(range(30))
    assert (found.joints - people[nearest]).norm(dim=2).max() < 0.8


def test_joints_are_found_within_a_fifth_of_a_pixel():
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        joints = torch.tensor([[[8.0, 8], [20, 9], [21, 22]]]) + torch.rand(1, 3, 2, generator=generator)
        found = parsing.parse(*maps_of(joints, LIMBS, (32, 32)), LIMBS)
        assert (found.joints - joints).abs().max() < 0.2


@pytest.mark.parametrize("other", [(2, 3), (3, 1), (3, 2), (3, 3)])
def test_of_two_equal_neighbours_one_is_a_peak(other):
    maps = torch.zeros(1, 6, 6)
    maps[0, 2, 2] = maps[0, other[0], other[1]] = 0.9
    assert len(parsing.find_peaks(maps)[0].points) == 1


def test_line_is_sampled_evenly_from_its_start_to_its_end():
    field = torch.zeros(2, 1, 10)
    field[0, 0] = torch.arange(10.0)
    seen = fields.along_lines(field, torch.tensor([[0.0, 0.0]]), torch.tensor([[9.0, 0.0], [4.5, 0.0], [0.0, 0.0]]))
    assert torch.allclose(seen[0], torch.stack([torch.arange(10.0), torch.arange(10.0) / 2, torch.zeros(10)]))


def test_joints_of_one_pixel_draw_nothing_and_weaken_nobody_s_limb():
    people = torch.tensor([[[2.0, 1.0], [9.0, 1.0]], [[5.0, 1.0], [5.0, 1.0]]])
    drawn = fields.affinity_fields(people, ((0, 1),), (3, 12), 1.0)
    assert drawn.equal(fields.affinity_fields(people[:1], ((0, 1),), (3, 12), 1.0))
    assert drawn[0, 1, 5] == 1
