"""Cases of the receptive field that a comparison of sizes alone does not see."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unpool.inspection.field_by_formula import receptive_field
from unpool.inspection.traced import trace


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, image):
        return self.function(image)


def edges(function, shape=(1, 6, 8)):
    """First and last column and row of each position: [(low, high) of rows], [(low, high) of columns]."""
    field = trace(Function(function), shape).fields[-1]
    assert not isinstance(field, str), field
    return [list(zip(axis.window.low.astype(int), axis.window.high.astype(int), strict=True)) for axis in field]


def points(positions):
    return [(at, at) for at in positions]


def test_slice_takes_the_windows_of_its_positions():
    rows, columns = edges(lambda x: x[:, :, 1:6:2, 3:])
    assert rows == points([1, 3, 5])
    assert columns == points([3, 4, 5, 6, 7])


def test_flip_turns_the_windows_round():
    assert edges(lambda x: x.flip(3))[1] == points(range(7, -1, -1))


def test_mirrored_padding_sees_what_it_repeats():
    assert edges(lambda x: F.pad(x, (2, 2, 0, 0), mode="reflect"))[1] == points([2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 6, 5])


def test_repeated_padding_sees_the_border():
    assert edges(lambda x: F.pad(x, (2, 1, 0, 0), mode="replicate"))[1] == points([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7])


def test_padding_before_the_image_moves_the_windows():
    assert edges(lambda x: F.pad(x, (2, -1, 0, 0)))[1] == points([-2, -1, 0, 1, 2, 3, 4, 5, 6])


def test_parts_of_a_split_see_their_own_columns():
    assert edges(lambda x: x.split([3, 5], 3)[1])[1] == points([3, 4, 5, 6, 7])
    assert edges(lambda x: x.split(4, 3)[1])[1] == points([4, 5, 6, 7])
    assert edges(lambda x: x.chunk(2, 2)[1])[0] == points([3, 4, 5])


def test_one_selected_row_sees_itself():
    assert edges(lambda x: x.select(2, 4))[0] == points([4])
    assert edges(lambda x: x.unbind(2)[2])[0] == points([2])


def test_transposed_maps_keep_their_axes_apart():
    rows, columns = edges(lambda x: F.avg_pool2d(x.transpose(2, 3), (2, 1)))
    assert rows == points(range(6))
    assert columns == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_mean_over_one_axis_leaves_the_other():
    rows, columns = edges(lambda x: x.mean(3))
    assert rows == points(range(6))
    assert columns == [(0, 7)]


def test_softmax_over_channels_mixes_no_positions_and_over_columns_all():
    assert edges(lambda x: x.softmax(1))[1] == points(range(8))
    assert edges(lambda x: x.softmax(3))[1] == [(0, 7)]


def test_adaptive_pooling_sees_overlapping_windows():
    assert edges(lambda x: F.adaptive_avg_pool2d(x, (1, 3)))[1] == [(0, 2), (2, 5), (5, 7)]


def test_interpolation_sees_the_two_nearest_pixels():
    assert edges(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 2, 3))[1] == [
        *((0, 0), (0, 1), (0, 1)),
        *((1, 2), (1, 2), (2, 2)),
    ]
    assert edges(lambda x: F.interpolate(x, size=(2, 5), mode="bilinear", align_corners=True), (1, 2, 3))[1] == [
        *((0, 0), (0, 1), (1, 1)),
        *((1, 2), (2, 2)),
    ]


def test_antialiased_interpolation_sees_all_that_it_shrinks():
    def halved(x):
        return F.interpolate(x, size=(3, 4), mode="bilinear", antialias=True)

    assert edges(halved)[1] == [(0, 2), (1, 4), (3, 6), (5, 7)]


def test_pooling_of_volumes_has_three_fields():
    model = nn.Sequential(nn.MaxPool3d((2, 3, 4), stride=1), nn.AvgPool3d(2))
    assert receptive_field(model, (1, 8, 8, 8)) == ((3, 4, 5), (2, 2, 2))


def test_unpooling_of_odd_maps_sees_the_pooled_window():
    def there_and_back(x):
        pooled, places = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        return F.max_unpool2d(pooled, places, 2, output_size=x.shape[2:])

    assert edges(there_and_back, (1, 2, 5))[1] == [(0, 1), (0, 1), (2, 3), (2, 3), (4, 5)]


@pytest.mark.parametrize("change", [lambda x: torch.cat([x, x], 3), lambda x: x.repeat(1, 1, 2, 1)])
def test_maps_laid_side_by_side_are_refused(change):
    with pytest.raises(ValueError, match=r"side by side|repeated as a whole"):
        receptive_field(Function(change), (3, 8, 8))


def test_a_view_that_cuts_an_axis_is_refused_where_it_matters():
    with pytest.raises(ValueError, match="splits an image axis of 8"):
        receptive_field(Function(lambda x: x.view(1, 3, 2, 4, 8).permute(0, 1, 3, 2, 4)), (3, 8, 8))


def test_convolutions_with_weights_made_from_the_image_are_refused():
    with pytest.raises(ValueError, match="weights depend on the image"):
        receptive_field(Function(lambda x: F.conv2d(x, x.mean((2, 3), keepdim=True))), (3, 8, 8))


def test_a_layer_called_twice_answers_for_its_last_call():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    assert receptive_field(nn.Sequential(layer, layer), (3, 9, 9), "0").size == (5, 5)


def test_a_signal_of_one_axis_has_one_field():
    model = nn.Sequential(nn.Conv1d(2, 4, 5, stride=2), nn.MaxPool1d(2))
    assert receptive_field(model, (2, 40)) == ((7,), (4,))


def test_a_map_of_one_pixel_keeps_growing_as_the_formula_does():
    model = nn.Sequential(*[nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(5)])
    assert receptive_field(model, (3, 4, 4)) == ((63, 63), (32, 32))
