"""The search meets every pair of near hashes once, in far less work than there are pairs."""

import time

import numpy as np
import pytest

from unpool.data.copies import find_copies, joined, near_pairs
from unpool.data.duplicates import equal_files

ALL = range(6)


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def flipped(values: np.ndarray, bits: int, seed: int = 1) -> np.ndarray:
    """Each hash with that many of its bits changed."""
    rng, changed = np.random.default_rng(seed), values.copy()
    for index in range(len(changed)):
        for bit in rng.choice(64, bits, replace=False).tolist():
            changed[index] ^= np.uint64(1 << bit)
    return changed


@pytest.mark.parametrize("distance", ALL)
def test_search_finds_what_a_loop_over_all_pairs_finds(distance):
    base = hashes(300)
    queries = np.concatenate([flipped(base[i * 40 : i * 40 + 40], i) for i in range(7)])
    near = np.bitwise_count(queries[:, None] ^ base[None]) <= distance
    searched = np.concatenate(list(near_pairs(queries, base, distance=distance))).tolist()
    assert sorted(searched) == np.argwhere(near).tolist()
    assert near.sum() >= 40 * (distance + 1)


def test_search_among_many_does_not_compare_all_pairs():
    base, queries = hashes(200_000), hashes(20_000, seed=1)
    queries[:50] = flipped(base[:50], 4)
    start = time.process_time()
    assert sum(map(len, near_pairs(queries, base))) == 50
    assert time.process_time() - start < 10  # 4 billion pairs take minutes


def test_empty_sets_have_no_pairs():
    assert sum(map(len, near_pairs(hashes(0), hashes(3)))) == 0
    assert len(find_copies(hashes(0).reshape(0, 2), lambda _: np.zeros((32, 32), np.uint8)).pairs) == 0


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 32, 32), dtype=np.uint8)


def test_equal_hashes_of_unlike_pictures_are_no_copies():
    small, alike = pictures(3), np.full((3, 2), 7, np.uint64)
    assert find_copies(alike, small.__getitem__).pairs.tolist() == []
    small[2] = small[0]
    assert find_copies(alike, small.__getitem__).pairs.tolist() == [[0, 2]]


def test_mirror_image_is_a_copy_and_named_as_such():
    small = pictures(2)
    small[1] = small[0, :, ::-1]
    one, other = hashes(2).tolist()
    copies = find_copies(np.array([[one, other], [other, one]], np.uint64), small.__getitem__)
    assert (copies.pairs.tolist(), copies.is_mirrored.tolist()) == ([[0, 1]], [True])


def test_set_of_pictures_that_are_all_alike_ends_and_says_so():
    small, alike = pictures(60), np.full((60, 2), 7, np.uint64)
    assert not find_copies(alike, small.__getitem__, most=100).is_complete
    assert find_copies(alike, small.__getitem__).is_complete


def test_copies_among_many_empty_pictures_are_found():
    small, alike = pictures(400), hashes(800).reshape(400, 2)
    alike[3:], small[3:] = 7, 0
    alike[2], small[2] = alike[0], small[0]
    copies = find_copies(alike, small.__getitem__, most=1000)
    assert (copies.pairs.tolist(), copies.is_complete) == ([[0, 2]], True)


def test_pairs_are_joined_to_groups():
    assert joined([(5, 6), (1, 3), (2, 9), (3, 5)]) == [(1, 3, 5, 6), (2, 9)]


def test_equal_files_are_those_of_equal_content(tmp_path):
    for name, content in {"a": b"one", "b": b"two", "c": b"one", "d": b"", "e": b"", "f": b"three"}.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in "abcdef"] + [tmp_path / "gone"]
    assert equal_files(paths) == [(0, 2)]


def test_file_that_changed_is_read_again(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    assert equal_files([first, second]) == [(0, 1)]
    second.write_bytes(b"two")
    assert equal_files([first, second]) == []
