"""Sheets of filters show the weights as they are, on one scale."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.inspection.filters import GAP, draw_filters, filters_of, show_filters


def test_grey_is_zero_and_the_largest_weights_are_black_and_white():
    weight = torch.zeros(2, 3, 24, 24)
    weight[0], weight[1] = 0.5, -0.5
    sheet = draw_filters(weight)
    assert sheet[:, GAP, GAP].tolist() == [255, 255, 255]
    assert sheet[:, GAP, 2 * GAP + 24].tolist() == [0, 0, 0]
    weight[1] = 0
    assert draw_filters(weight)[:, GAP, 2 * GAP + 24].tolist() == [127, 127, 127]


def test_filters_are_on_one_scale():
    weight = torch.ones(2, 3, 24, 24)
    weight[1] *= 0.5
    sheet = draw_filters(weight)
    assert int(sheet[0, GAP, 2 * GAP + 24]) == 191


def test_colours_are_those_of_the_input():
    weight = torch.zeros(1, 3, 24, 24)
    weight[:, 0] = 1
    assert draw_filters(weight)[:, GAP, GAP].tolist() == [255, 127, 127]
    assert draw_filters(weight, order="bgr")[:, GAP, GAP].tolist() == [127, 127, 255]


def test_filter_of_other_channels_is_a_row_of_grey_ones():
    weight = torch.zeros(2, 5, 24, 24)
    weight[1, 4] = 1
    sheet = draw_filters(weight)
    assert sheet.shape == (3, 2 * (24 + GAP) + GAP, 5 * (24 + GAP) + GAP)
    assert sheet[:, -GAP - 1, -GAP - 1].tolist() == [255, 255, 255]
    assert sheet[:, GAP, GAP].tolist() == [127, 127, 127]


def test_small_filters_are_enlarged_pixel_by_pixel():
    weight = torch.zeros(1, 3, 3, 3)
    weight[0, :, 0, 0] = 1
    sheet = draw_filters(weight)[0, GAP:-GAP, GAP:-GAP]
    assert sheet.shape == (24, 24)
    assert sheet[:8, :8].unique().tolist() == [255]
    assert int((sheet == 255).sum()) == 64


def test_view_counts_faint_filters_of_the_named_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 4, 3))
    with torch.no_grad():
        model[1].weight[2] = 0
    view = show_filters(model, "1", name="small")
    assert (view.values["layer"], view.values["faint"]) == ("1", 1)
    assert filters_of(model).layer == "0"
    assert "Filters of small" in view.to_page()


def test_weights_that_are_not_finite_are_drawn_as_zero():
    weight = torch.ones(1, 3, 24, 24)
    weight[0, 0, 0, 0] = torch.nan
    assert int(draw_filters(weight)[0, GAP, GAP]) == 127


@pytest.mark.parametrize(("layer", "text"), [(None, "has no two-dimensional"), ("0", "'0'")])
def test_network_without_such_a_convolution_is_refused(layer, text):
    with pytest.raises(RecipeError, match=text):
        show_filters(nn.Sequential(nn.Linear(2, 2)), layer)
