"""Which files have a part in the range of a set, and which say their own."""

import pytest

from tests.data.test_depth import STATED, by_opencv, to
from unpool.data.depth import needs_range
from unpool.data.image_file import Probe
from unpool.data.range_of_set import find_range, see
from unpool.types import GREY


@pytest.mark.parametrize(
    ("probed", "needs"),
    [
        (Probe(1, 1, "PNG", "L", 1, 1), False),
        (Probe(1, 1, "PNG", "I;16", 1, 1, bits=16), True),
        (Probe(1, 1, "PNG", "I;16", 1, 1, bits=16, significant=12), False),
        (Probe(1, 1, "TIFF", "", 1, 1, bits=12, stated=(0, 4095)), False),
        (Probe(1, 1, "TIFF", "F", 1, 1, bits=32, kind="f"), True),
    ],
)
def test_range_is_needed_of_a_deep_file_that_says_neither_range_nor_bits(probed, needs):
    assert needs_range(probed) is needs


def test_files_that_say_their_range_have_no_part_in_that_of_the_set():
    dark, packed, scaled = by_opencv(to(900)), STATED["12 bits packed"], STATED["PNG with sBIT 12, scaled"]
    assert find_range([see(data, GREY, name="a") for data in (dark, packed, scaled)]) == (0, 1023)
    assert find_range([see(data, GREY, name="a") for data in (packed, scaled)]) is None
