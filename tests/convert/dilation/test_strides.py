"""Strides of maps from their sizes."""

import pytest

from unpool.convert.dilation.strides import scaled_strides

BEFORE = [(8, 12), (13, 17)]


@pytest.mark.parametrize(
    ("after", "strides"),
    [
        ([(16, 24), (26, 34)], (4, 4)),  # twice as fine
        ([(17, 25), (27, 35)], (4, 4)),  # as a transposed convolution without padding makes it
        ([(8, 24), (13, 34)], (8, 4)),
        ([(4, 6), (6, 8)], (16, 16)),  # rounded down
        ([(4, 6), (7, 9)], (16, 16)),  # rounded up
        ([(5, 6), (7, 9)], None),  # half of 8 is 4, so that a 5 is no half
        ([(8, 12), (13, 17)], (8, 8)),
        ([(7, 7), (7, 7)], None),  # of one size always
        ([(24, 36), (39, 51)], None),  # a third of 8
        ([(10, 14), (15, 19)], None),  # a border
    ],
)
def test_stride_follows_a_whole_ratio_that_holds_at_every_size(after, strides):
    assert scaled_strides((8, 8), BEFORE, after) == strides


def test_largest_map_decides_whichever_image_is_the_last():
    assert scaled_strides((8, 8), [(13, 17), (1, 1)], [(27, 35), (3, 3)]) == (4, 4)  # transposed, 3x3 by 2
    assert scaled_strides((8, 8), [(13, 17), (3, 3)], [(6, 8), (1, 1)]) == (16, 16)
