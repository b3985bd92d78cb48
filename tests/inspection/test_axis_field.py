import numpy as np
import pytest

from unpool.inspection.axis_field import AxisField


def taps(window):
    return list(zip(window.low.astype(int).tolist(), window.high.astype(int).tolist(), strict=True))


def test_convolutions_follow_the_formula_of_sizes_and_strides():
    window, size, stride = AxisField.of_image(64), 1, 1
    for kernel, step, dilation in ((3, 2, 1), (5, 1, 2), (2, 2, 1), (3, 1, 1)):
        length = (len(window) - 1) // step + 1
        window = window.slide(length, kernel=kernel, stride=step, padding=dilation * (kernel // 2), dilation=dilation)
        size, stride = size + (kernel - 1) * dilation * stride, stride * step
        assert (window.size, window.stride) == (size, stride)


def test_padding_counts_as_seen():
    assert taps(AxisField.of_image(3).slide(3, kernel=3, padding=1)) == [(-1, 1), (0, 2), (1, 3)]


def test_a_field_larger_than_the_image_keeps_its_size():
    window = AxisField.of_image(4)
    for _ in range(6):
        window = window.slide(4, kernel=5, padding=2)
    assert window.size == 25


def test_transposed_convolution_sees_what_a_matrix_says():
    size, kernel, stride, padding, dilation = 5, 4, 3, 1, 2
    length = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
    window = AxisField.of_image(size + 4).spread(
        length + 12, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )
    for out in range(6, length):
        seen = [i for i in range(-9, 20) for k in range(kernel) if i * stride - padding + k * dilation == out]
        assert taps(window)[out] == (min(seen), max(seen))


def test_a_position_that_no_tap_reaches_sees_nothing():
    window = AxisField.of_image(4).spread(7, kernel=1, stride=2)
    assert np.isinf(window.low[1])
    assert window.size == 1


def test_positions_of_an_upsampled_map_see_windows_of_different_sizes():
    window = AxisField.of_image(8).repeat(16, times=2).slide(16, kernel=3, padding=1)
    assert set((window.high - window.low + 1).astype(int)) == {2}
    window = window.slide(16, kernel=2)
    assert set((window.high - window.low + 1).astype(int)) == {2, 3}


def test_upsampled_maps_continue_outside_in_their_own_rhythm():
    window = AxisField.of_image(8).repeat(16, times=2)
    assert taps(window.take(np.array([-3, -2, -1, 0, 15, 16, 17]))) == [
        *((-2, -2), (-1, -1), (-1, -1), (0, 0)),
        *((7, 7), (8, 8), (8, 8)),
    ]


def test_union_takes_the_wider_of_two_branches():
    image = AxisField.of_image(6)
    joined = image.slide(6, kernel=3, padding=1).union(image.slide(6, kernel=5, padding=2))
    assert (joined.size, joined.stride) == (5, 1)


def test_union_with_a_global_branch_sees_everything_and_grows_no_further_than_it_moves():
    image = AxisField.of_image(6)
    gated = image.slide(6, kernel=3, padding=1).union(image.whole())
    assert gated.low.min() == -1
    assert gated.high.max() == 6
    assert gated.slide(6, kernel=3, padding=1).size == 7  # the image and one column of padding


def test_branches_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="6 and 5 positions"):
        AxisField.of_image(6).union(AxisField.of_image(5))
