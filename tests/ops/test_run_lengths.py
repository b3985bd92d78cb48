"""Run lengths are those of pycocotools, and what a file may hold in their place is refused by name."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from unpool.errors import DataError
from unpool.ops.run_lengths import decode_rle, encode_rle

CROSS = torch.tensor([[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]).bool()
RUNS = [1, 1, 1, 3, 1, 1, 4]


def drawn(seed: int, size_hw: tuple[int, int]) -> torch.Tensor:
    """Stripes of any width, so that runs and their differences are short and long, above and below 0."""
    rng = np.random.default_rng(seed)
    widths = rng.choice((1, 2, 40, 700), size_hw[0] * size_hw[1])
    inside = np.arange(len(widths)) % 2 == seed % 2
    return torch.from_numpy(np.repeat(inside, widths)[: size_hw[0] * size_hw[1]].reshape(size_hw[::-1]).T.copy())


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 7), (7, 1), (40, 61), (200, 333)])
@pytest.mark.parametrize("seed", range(4))
def test_letters_are_those_of_pycocotools_and_read_back(seed, size_hw):
    for mask in (drawn(seed, size_hw), torch.zeros(size_hw).bool(), torch.ones(size_hw).bool()):
        expected = coco_masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
        found = encode_rle(mask)
        assert found == {"size": list(size_hw), "counts": expected["counts"].decode()}
        assert torch.equal(decode_rle(found, size_hw), mask)


def test_a_long_run_has_as_many_letters_as_it_needs():
    mask = torch.zeros(1000, 3000, dtype=torch.bool)
    mask[:, :1] = True
    found = encode_rle(mask)
    assert found["counts"].encode() == coco_masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))["counts"]


@pytest.mark.parametrize("counts", [RUNS, tuple(RUNS), "11120N3", b"11120N3", [0, 0, *RUNS]])
def test_runs_go_down_the_columns_as_list_and_as_letters(counts):
    assert torch.equal(decode_rle({"size": [3, 4], "counts": counts}, (3, 4)), CROSS)


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        (None, "expected an object with size and counts"),
        ([[1, 2, 3, 4, 5, 6]], "expected an object with size and counts"),
        ({"counts": RUNS}, "have size None; their image is 3 high and 4 wide"),
        ({"size": [4, 3], "counts": RUNS}, r"have size \[4, 3\]"),
        ({"size": [10**9, 10**9], "counts": RUNS}, "have size"),
        ({"size": "34", "counts": RUNS}, "have size '34'"),
        ({"size": [3, 4]}, "have counts None; expected a list of numbers or a string"),
        ({"size": [3, 4], "counts": 12}, "have counts 12"),
        ({"size": [3, 4], "counts": []}, "cover 0 pixels"),
        ({"size": [3, 4], "counts": RUNS[:-1]}, "cover 8 pixels"),
        ({"size": [3, 4], "counts": [5, 8]}, "cover 13 pixels"),
        ({"size": [3, 4], "counts": [13, -1]}, "run 1 is 13; expected a whole number from 0 to 12"),
        ({"size": [3, 4], "counts": [5, -1, 8]}, "run 2 is -1"),
        ({"size": [3, 4], "counts": [5, 10**30]}, "run 2 is 1000000"),
        ({"size": [3, 4], "counts": [6.0, 6.0]}, "run 1 is 6.0"),
        ({"size": [3, 4], "counts": [6, float("nan")]}, "run 2 is nan"),
        ({"size": [3, 4], "counts": [True, 11]}, "run 1 is True"),
        ({"size": [3, 4], "counts": ["6", "6"]}, "run 1 is '6'"),
        ({"size": [3, 4], "counts": [[6], [6]]}, r"run 1 is \[6\]"),
        ({"size": [3, 4], "counts": ""}, "are cut off"),
        ({"size": [3, 4], "counts": "11120N"}, "cover 8 pixels"),
        ({"size": [3, 4], "counts": "11120N3P"}, "are cut off within a number"),
        ({"size": [3, 4], "counts": "111 0N3"}, r"have b' ' as letter 4; expected \"0\" to \"o\""),
        ({"size": [3, 4], "counts": "11120é3"}, "as letter 6"),
        ({"size": [3, 4], "counts": "11\ud8001"}, "as letter 3"),
        ({"size": [3, 4], "counts": "1112N4"}, "cover 12 pixels, the shortest -1"),
        ({"size": [3, 4], "counts": "PPPPPPP1"}, "numbers of up to 8 letters"),
        ({"size": [3, 4], "counts": "0" * 14}, "have 14 numbers"),
        ({"size": [3, 4], "counts": "oooooo7" * 9}, "cover"),
        ({"size": [3, 4], "counts": "1112~N3"}, "as letter 5"),
    ],
)
def test_malformed_run_lengths_are_refused_with_what_they_are(segmentation, words):
    with pytest.raises(DataError, match=words):
        decode_rle(segmentation, (3, 4))


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(alphabet="".join(map(chr, range(48, 112))), max_size=12), st.text(max_size=8), st.binary()))
def test_any_letters_are_a_mask_of_the_image_or_a_data_error(counts):
    try:
        mask = decode_rle({"size": [3, 4], "counts": counts}, (3, 4))
    except DataError:
        return
    assert mask.shape == (3, 4)
    assert torch.equal(decode_rle(encode_rle(mask), (3, 4)), mask)
