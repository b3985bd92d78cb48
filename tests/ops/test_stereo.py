"""Disparities from scores: the sign, the check, and what fills the gaps."""

import torch

from unpool.ops.semi_global import _along, semi_global_scores
from unpool.ops.stereo import (
    disparities_of,
    interpolated,
    is_consistent,
    matching_scores,
    median_filtered,
    seen_from_right,
    winner_takes_all,
    within,
)


def features(seed=0, channels=8, size_hw=(6, 24)):
    values = torch.randn(1, channels, *size_hw, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=1)


def shifted_pair(disparity, size_hw=(6, 24)):
    """Features of a wall that the right image shows `disparity` pixels further left."""
    wall = features(size_hw=(size_hw[0], size_hw[1] + disparity))
    return wall[..., : size_hw[1]], wall[..., disparity:]


def test_scores_are_products_with_the_pixel_further_left():
    left, right = features(0), features(1)
    scores = matching_scores(left, right, 30)
    for x, d in ((7, 0), (7, 3), (23, 20)):
        torch.testing.assert_close(scores[0, d, 2, x], left[0, :, 2, x] @ right[0, :, 2, x - d])
    assert scores.shape == (1, 30, 6, 24)
    assert (scores[0, 8, :, :8] == -1).all()
    assert (scores[0, 24:] == -1).all()


def test_wall_that_the_right_image_shows_further_left_has_that_disparity():
    left, right = shifted_pair(5)
    disparity, is_kept = disparities_of(matching_scores(left, right, 9))
    assert is_kept[..., 5:].all()
    torch.testing.assert_close(disparity[..., 5:], torch.full_like(disparity[..., 5:], 5.0), atol=0.5, rtol=0)
    assert not is_kept[..., :4].any()  # the right image does not show these; a pixel more is within the tolerance


def test_right_image_s_scores_are_those_of_the_pixel_further_right():
    scores = matching_scores(features(0), features(1), 6)
    from_right = seen_from_right(scores)
    assert from_right[0, 4, 3, 10] == scores[0, 4, 3, 14]
    assert (from_right[0, 4, :, -4:] == -torch.inf).all()


def test_peak_between_two_disparities_is_that_of_the_parabola():
    d = torch.arange(7.0)
    scores = (1 - (d - 3.3).square() / 10).view(1, 7, 1, 1)
    torch.testing.assert_close(winner_takes_all(scores).item(), 3.3, atol=1e-4, rtol=0)
    assert winner_takes_all(-d.view(1, 7, 1, 1)).item() == 0  # at the end there are no three


def test_score_beside_the_right_image_bends_no_parabola_and_wins_nowhere():
    scores = torch.tensor([-30.0, -1.0, -0.5, -1.0]).view(1, 4, 1, 1).repeat(1, 1, 6, 8)
    for column in range(3):
        scores[:, column + 1 :, :, column] = -20  # greater than -30, and no lower neighbour of -0.5
    assert (winner_takes_all(within(scores))[..., 0] == 0).all()
    assert (disparities_of(scores)[0][..., 2] == 2).all()


def test_check_keeps_what_points_back_within_a_pixel():
    left = torch.tensor([[[0.0, 1.0, 1.0, 1.0, 4.0]]])
    right = torch.tensor([[[1.0, 3.2, 2.0, 0.0, 0.0]]])
    assert is_consistent(left, right).tolist() == [[[True, True, False, True, False]]]
    assert not is_consistent(torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1, 2))[0, 0, 0]  # points beside the image
    assert not is_consistent(torch.full((1, 1, 2), torch.nan), torch.zeros(1, 1, 2)).any()


def test_gap_takes_the_farther_surface_beside_it():
    disparity = torch.tensor([[[9.0, 2.0, 9.0, 9.0, 7.0, 9.0]]])
    kept = torch.tensor([[[False, True, False, False, True, False]]])
    assert interpolated(disparity, kept).tolist() == [[[2.0, 2.0, 2.0, 2.0, 7.0, 7.0]]]
    assert interpolated(disparity, torch.zeros_like(kept)).equal(disparity)


def test_median_is_that_of_the_square_with_borders_repeated():
    values = torch.rand(1, 5, 6, generator=torch.Generator().manual_seed(0))
    found = median_filtered(values, 3)
    assert found[0, 2, 3] == values[0, 1:4, 2:5].median()
    assert found[0, 0, 0] == values[0, [0, 0, 1]][:, [0, 0, 1]].median()


def test_semi_global_follows_the_cheapest_way_of_all():
    """Along a row of three pixels and three disparities, every way tried: the left end's cost is taken off again."""
    scores = torch.rand(1, 3, 1, 3, generator=torch.Generator().manual_seed(2))
    costs, (one, more) = -scores[0, :, 0], (0.1, 0.25)
    price = [[0.0, one, more], [one, 0.0, one], [more, one, 0.0]]

    def best(end, x):
        if x == 0:
            return float(costs[end, 0])
        ways = [best(d, x - 1) + price[d][end] for d in range(3)]
        return float(costs[end, x]) + min(ways) - min(best(d, x - 1) for d in range(3))

    expected = [[best(d, x) for x in range(3)] for d in range(3)]
    torch.testing.assert_close(_along(-scores, (one, more))[0, :, 0], torch.tensor(expected))


def test_semi_global_without_penalties_leaves_the_winners():
    scores = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    assert semi_global_scores(scores, (0.0, 0.0)).argmax(1).equal(scores.argmax(1))
    smooth = semi_global_scores(scores, (0.5, 1.0)).argmax(1)
    assert smooth.diff(dim=-1).ne(0).float().mean() < scores.argmax(1).diff(dim=-1).ne(0).float().mean()
