"""A classifier slid over a photograph, in one pass, and dilated: scores that must agree, and where they stand."""

import pytest
import torch
from torch import nn

from unpool.errors import NotConvertible, RecipeError
from unpool.inspection import dense
from unpool.inspection.dense import compare, counts, score_windows
from unpool.inspection.score_maps import at_every_pixel, covered, heat_and_classes, likeliest, shares

WINDOW = (18, 16)


def noise(size_hw):
    return torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(3))


def classifier(padding=0):
    """18x16 pixels -> 5 scores, stride 4."""
    torch.manual_seed(0)
    maps = (
        *(nn.Conv2d(3, 6, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Conv2d(6, 8, (4, 3), stride=2, padding=padding),
    )
    if padding:
        return nn.Sequential(*maps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(72, 5))


def test_unpadded_classifier_gives_the_same_in_crops_and_in_one_pass():
    found = score_windows(classifier(), noise((31, 37)), window_hw=WINDOW, output_stride=1)
    assert not found.reads_beyond_window
    assert found.slid.shape == found.coarse.shape == (5, 4, 6)
    assert (found.coarse_vs_crops.positions, found.coarse_vs_crops.same_class) == (24, 24)
    assert found.coarse_vs_crops.relative_error < 1e-5
    assert min(found.slid_s, found.coarse_s, found.fine_s) > 0


def test_every_dilated_score_is_that_of_its_crop():
    network, x = classifier().eval(), noise((24, 23))
    found = score_windows(network, x, window_hw=WINDOW, output_stride=1)
    assert found.fine.shape == (5, 7, 8)
    assert found.fine_vs_coarse.relative_error < 1e-5
    for i, j in ((0, 0), (3, 5), (6, 7)):
        wanted = network(x[:, :, i : i + WINDOW[0], j : j + WINDOW[1]])[0]
        torch.testing.assert_close(found.fine[:, i, j], wanted, rtol=1e-4, atol=1e-5)


def test_padded_classifier_differs_from_crops_and_not_from_its_head_on_the_maps_of_the_image():
    found = score_windows(classifier(padding=1), noise((41, 43)), window_hw=WINDOW, output_stride=2)
    assert found.reads_beyond_window
    assert found.coarse_vs_crops.relative_error > 1e-3
    assert found.coarse_vs_head is not None
    assert found.coarse_vs_head.relative_error < 1e-5
    assert found.coarse_vs_head.same_class == found.coarse_vs_head.positions > 5
    assert found.fine_vs_coarse.relative_error < 1e-5


def test_network_that_was_given_keeps_its_mode_and_weights():
    network = classifier().train()
    before = [p.clone() for p in network.parameters()]
    score_windows(network, noise((22, 22)), window_hw=WINDOW, output_stride=2)
    assert network.training
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_crops_stop_when_patience_ends_and_their_time_is_estimated(monkeypatch):
    monkeypatch.setattr(dense, "BATCH", 4)
    found = score_windows(classifier(), noise((31, 37)), window_hw=WINDOW, output_stride=4, patience_s=0)
    assert found.coarse_vs_crops.positions == 4
    assert int(found.slid.isfinite().all(0).sum()) == 4


def test_time_of_crops_that_were_left_out_is_counted(monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr(dense.time, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(dense, "BATCH", 4)
    found = score_windows(classifier(), noise((31, 37)), window_hw=WINDOW, output_stride=4, patience_s=0)
    assert found.slid_s == 2 * 24 / 4  # two ticks around the one batch, whose 4 crops stand for all 24


def test_finest_stride_within_patience_is_taken_and_the_next_is_estimated():
    patient = score_windows(classifier(), noise((31, 37)), window_hw=WINDOW, patience_s=60)
    assert (patient.output_stride, patient.finer_s) == (1, None)
    hasty = score_windows(classifier(), noise((31, 37)), window_hw=WINDOW, patience_s=0)
    assert hasty.output_stride == 2
    assert hasty.finer_s > 0


def test_image_smaller_than_the_window_is_refused_with_both_sizes():
    with pytest.raises(RecipeError, match=r"the image is \(17, 40\) \(H, W\) and the classifier's window \(18, 16\)"):
        score_windows(classifier(), noise((17, 40)), window_hw=WINDOW)


def test_layer_without_a_counterpart_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(4 * 16 * 14, 5))
    with pytest.raises(NotConvertible, match="1 cannot be made convolutional"):
        score_windows(network, noise((20, 20)), window_hw=WINDOW)


def test_windows_are_counted_that_lie_within_the_image():
    assert counts((31, 37), WINDOW, (4, 4)) == (4, 6)
    assert counts(WINDOW, WINDOW, (4, 4)) == (1, 1)


def test_comparison_leaves_out_what_has_no_number():
    wanted = torch.tensor([[1.0, 2.0, torch.nan], [0.0, 4.0, torch.nan]])[:, None]
    given = torch.tensor([[1.0, 5.0, 9.0], [0.0, 4.0, 9.0]])[:, None]
    assert compare(wanted, given) == dense.Compared(relative_error=0.75, same_class=1, positions=2)


def test_each_score_stands_at_the_centre_of_its_window():
    scores = torch.zeros(1, 3, 4)
    scores[0, 1, 2] = 1  # its window begins at row 4, column 16
    [(_, whole)] = at_every_pixel(scores, (19, 40), window_hw=(5, 9), stride=(4, 8))
    assert whole.shape == (1, 19, 40)
    assert whole[0].argmax() == (4 + 2) * 40 + 16 + 4
    assert float(whole[0, 6, 20]) == 1
    assert float(whole[0, 4, 16]) == pytest.approx(0.25)


def test_even_windows_are_centred_between_two_pixels():
    share = shares(2, 8, window=4, stride=4, smooth=True)
    torch.testing.assert_close(share[:, 1], torch.tensor([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]))
    torch.testing.assert_close(share.sum(1), torch.ones(8))


def test_nearest_score_fills_its_cell():
    share = shares(3, 12, window=4, stride=4, smooth=False)
    assert share.argmax(1).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]


def test_bands_of_rows_make_the_whole(monkeypatch):
    scores = torch.randn(3, 4, 5)
    whole = heat_and_classes(scores, 1, (20, 30), window_hw=(6, 6), stride=(4, 5))
    monkeypatch.setattr("unpool.inspection.score_maps.VALUES", 3 * 30 * 7)
    banded = heat_and_classes(scores, 1, (20, 30), window_hw=(6, 6), stride=(4, 5))
    torch.testing.assert_close(whole[0], banded[0])
    assert torch.equal(whole[1], banded[1])


def test_heat_is_the_probability_of_the_class_asked_for():
    scores = torch.tensor([[[0.0]], [[1.0]], [[2.0]]])
    heat, classes = heat_and_classes(scores, 1, (2, 2), window_hw=(2, 2), stride=(1, 1))
    torch.testing.assert_close(heat, torch.full((2, 2), float(torch.tensor([0.0, 1.0, 2.0]).softmax(0)[1])))
    assert classes.tolist() == [[2, 2], [2, 2]]
    alone, _ = heat_and_classes(scores, 1, (2, 2), window_hw=(2, 2), stride=(1, 1), activation="sigmoid")
    torch.testing.assert_close(alone, torch.full((2, 2), float(torch.tensor(1.0).sigmoid())))


def test_pixels_nearer_than_half_a_stride_to_a_centre_are_covered():
    assert covered((2, 3), window_hw=(8, 4), stride=(4, 4)) == (slice(2, 10), slice(0, 12))


def test_of_pixels_half_a_stride_from_two_centres_the_first_is_covered_and_the_last_is_not():
    # centres of 8 pixels at 3.5 and 6.5, each of them 1.5 pixels wide on either side
    assert covered((2, 1), window_hw=(8, 5), stride=(3, 2)) == (slice(2, 8), slice(1, 3))


def test_class_of_the_highest_mean_probability_is_chosen():
    scores = torch.tensor([[9.0, 0.0, 0.0, torch.nan], [0.0, 4.0, 4.0, torch.nan]])[:, None]
    assert likeliest(scores) == 1
    assert likeliest(scores - 4, "sigmoid") == 0


def test_stride_whose_maps_would_be_too_large_is_not_chosen(monkeypatch):
    x = noise((160, 160))
    assert score_windows(classifier(), x, window_hw=WINDOW, patience_s=1e9).fine_stride == (1, 1)
    monkeypatch.setattr(dense, "LARGEST_MAP", 170_000)  # less than eight channels at every pixel
    assert score_windows(classifier(), x, window_hw=WINDOW, patience_s=1e9).fine_stride == (2, 2)
