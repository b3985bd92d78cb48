"""Bad pixels and end-point errors, counted by hand."""

import pytest
import torch

from unpool.metrics.pixel_errors import PixelErrors

TRUTH = torch.tensor([[10.0, 10.0, 10.0], [10.0, 10.0, torch.nan]])
ANSWER = torch.tensor([[10.0, 11.0, 12.0], [13.5, 20.0, 99.0]])
HIDDEN = torch.tensor([[False, False, False], [False, True, True]])


def computed(prediction, **batch):
    metric = PixelErrors(next(iter(prediction)))
    metric.update(prediction, batch)
    return metric.compute()


def test_figures_are_those_of_a_hand_count():
    """Errors 0, 1, 2, 3.5 and, hidden, 10; a pixel of unknown truth counts nowhere, one off by exactly 1 is good."""
    figures = computed({"disparity": ANSWER[None]}, disparity=TRUTH[None], hidden=HIDDEN[None])
    assert figures == {
        **{"bad1": 3 / 5, "bad3": 2 / 5, "epe": 16.5 / 5, "known_pixels": 5},
        **{"bad1_visible": 2 / 4, "bad3_visible": 1 / 4, "epe_visible": 6.5 / 4, "known_pixels_visible": 4},
    }


def test_error_of_a_flow_is_a_length():
    truth = torch.zeros(1, 2, 1, 2)
    truth[0, 1, 0, 1] = torch.nan  # one unknown number makes the pixel unknown
    answer = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    figures = computed({"flow": answer}, flow=truth)
    assert (figures["epe"], figures["bad3"], figures["known_pixels"]) == (5.0, 1.0, 1)


def test_nothing_is_said_of_visible_pixels_where_what_is_hidden_is_not_known():
    figures = computed({"disparity": ANSWER[None]}, disparity=TRUTH[None])
    assert figures["bad3_visible"] is figures["epe_visible"] is None
    assert figures["bad3"] == 2 / 5


def test_answer_that_is_not_a_number_is_bad():
    figures = computed({"disparity": torch.full((1, 1, 1), torch.nan)}, disparity=torch.ones(1, 1, 1))
    assert figures["bad1"] == figures["bad3"] == 1


def test_padding_and_parts_change_nothing():
    padded = torch.nn.functional.pad(ANSWER, (0, 2, 0, 1), value=50.0)
    whole = computed({"disparity": [ANSWER, padded]}, disparity=[TRUTH, TRUTH], hidden=[HIDDEN, HIDDEN])
    first, second = PixelErrors("disparity"), PixelErrors("disparity")
    for part in (first, second):
        part.update({"disparity": ANSWER[None]}, {"disparity": TRUTH[None], "hidden": HIDDEN[None]})
    first.merge(second)
    assert first.compute() == pytest.approx(whole)
