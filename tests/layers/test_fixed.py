"""Hand-made filters on images whose answer is known."""

import pytest
import torch

from unpool.layers.fixed import BLUR, PREWITT, SOBEL, FixedFilter

RISING = torch.arange(6.0)[:, None].expand(1, 2, 6, 7)  # by 1 a row
INSIDE = (..., slice(1, -1), slice(1, -1))


def test_filters_are_those_of_the_lecture():
    assert torch.tensor(PREWITT).tolist() == [[1, 0, -1], [1, 0, -1], [1, 0, -1]]
    assert (8 * torch.tensor(SOBEL)).tolist() == [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
    assert (16 * torch.tensor(BLUR)).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize(("rows", "down", "right"), [(PREWITT, 0, -6), (SOBEL, -1, 0), (BLUR, None, None)])
def test_answer_to_an_even_slope(rows, down, right):
    for image, expected in ((RISING, down), (RISING.mT, right)):
        answer = FixedFilter(rows, 2)(image)[INSIDE]
        assert torch.equal(answer, image[INSIDE] if expected is None else torch.full_like(answer, expected))


def test_blur_keeps_the_sum_and_spreads_a_point():
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 16
    assert FixedFilter(BLUR, 1)(point)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


def test_channels_do_not_mix_and_the_size_stays():
    x = torch.zeros(2, 3, 5, 7)
    x[:, 1] = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    y = FixedFilter(((1.0, 2.0, 3.0, 2.0, 1.0),), 3)(x)
    assert y.shape == x.shape
    assert y[:, 1].any()
    assert not y[:, ::2].any()


def test_filter_is_stored_and_never_learned():
    layer = FixedFilter(SOBEL, 3)
    assert list(layer.parameters()) == []
    assert list(layer.state_dict()) == ["weight"]


def test_half_precision_image_is_filtered_in_its_type():
    assert FixedFilter(BLUR, 2)(RISING.bfloat16()).dtype == torch.bfloat16


def test_filter_without_a_middle_is_refused():
    with pytest.raises(ValueError, match="the filter is 1x2; give one with an odd number"):
        FixedFilter(((1.0, -1.0),), 3)
