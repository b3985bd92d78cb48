"""Finds pictures that are copies of one another among many, in less time and memory than there are pairs.

Hashes of 64 bits that differ in at most 5 differ in at most one bit in one of three bands of 22, 21 and 21, so that
each is looked up by every band of it as it is and with one bit changed. Candidates are then compared as thumbnails.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unpool.data.likeness import DISTANCE, are_copies, are_flat

MOST_CANDIDATES = 200_000
_BANDS = ((0, 22), (22, 21), (43, 21))  # (lowest bit, bits)
_AT_ONCE = 1 << 20  # pairs of hashes held at a time
_COMPARED = 1 << 12  # pairs of thumbnails compared at a time
_CROWD = 16  # pictures of one hash from which on those that show nothing are left out first

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]


class Copies(NamedTuple):
    """Pairs of copies.

    Attributes:
        pairs: (P, 2) positions of the pictures, the lower one first, sorted.
        is_mirrored: (P,) whether one is the mirror image of the other.
        is_complete: False where so many hashes are alike that not every candidate was looked at.
    """

    pairs: Pairs
    is_mirrored: NDArray[np.bool_]
    is_complete: bool = True


def near_pairs(queries: Hashes, base: Hashes, *, distance: int = DISTANCE) -> Iterator[Pairs]:
    """Yields (P, 2) positions in `queries` and in `base` of hashes that differ in at most `distance` bits, 0 to 5.

    Each pair comes once; about a million are held at a time, or as many as one query has in one band.

    Example:
        >>> pairs = near_pairs(np.array([7], np.uint64), np.array([0, 7, 2**60 + 6], np.uint64))
        >>> sorted(np.concatenate(list(pairs)).tolist())
        [[0, 0], [0, 1], [0, 2]]
    """
    for number, (low, bits) in enumerate(_BANDS):
        shift, mask = np.uint64(low), np.uint64((1 << bits) - 1)
        keys = (base >> shift) & mask
        order = np.argsort(keys, kind="stable")
        known, starts, counts = np.unique(keys[order], return_index=True, return_counts=True)
        asked = (queries >> shift) & mask
        by_key = np.argsort(asked, kind="stable")  # neighbours are looked up in turn, which caches like
        for flip in (0, *(1 << bit for bit in range(bits))):
            wanted = asked[by_key] ^ np.uint64(flip)
            bucket = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            hits = np.flatnonzero(known[bucket] == wanted)
            rows, bucket = by_key[hits], bucket[hits]
            for part in _parts(counts[bucket]):
                size, start = counts[bucket[part]], starts[bucket[part]]
                within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
                pairs = np.stack([np.repeat(rows[part], size), order[np.repeat(start, size) + within]], 1)
                yield pairs[_is_met_here(queries[pairs[:, 0]] ^ base[pairs[:, 1]], number, distance)]


def _parts(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Slices of neighbours whose counts add up to `_AT_ONCE` at most, or of one."""
    ends, start = np.cumsum(counts), 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + _AT_ONCE, side="right")), start + 1)
        yield slice(start, stop)
        start = stop


def _is_met_here(difference: Hashes, number: int, distance: int) -> NDArray[np.bool_]:
    """Which differences are small enough and are met in no band before this one."""
    is_met = np.bitwise_count(difference) <= distance
    for low, bits in _BANDS[:number]:
        is_met &= np.bitwise_count((difference >> np.uint64(low)) & np.uint64((1 << bits) - 1)) > 1
    return is_met


def find_copies(hashes: Hashes, look: Callable[[int], NDArray[np.uint8]], *, most: int = MOST_CANDIDATES) -> Copies:
    """Finds the copies among pictures, mirrored ones too.

    Args:
        hashes: (N, 2) of each picture and of its mirror image, see `hashes_of`.
        look: gives the thumbnail of a picture; it is called once for each that has a candidate.
        most: candidates that are looked at, so that a set of pictures which are all alike ends too.
    """
    kept: dict[tuple[int, int], bool] = {}
    look, left = cache(look), most
    shown = _shown(hashes[:, 0], look)
    for is_mirrored in (False, True):
        for near in near_pairs(hashes[shown, int(is_mirrored)], hashes[shown, 0]):
            near = near[near[:, 0] != near[:, 1] if is_mirrored else near[:, 0] < near[:, 1]]
            pairs = shown[np.sort(near, 1)]
            for start in range(0, min(len(pairs), left), _COMPARED):
                part = pairs[start : min(start + _COMPARED, left)]
                first, second = (np.stack([look(i) for i in part[:, side].tolist()]) for side in (0, 1))
                same = are_copies(first, second[:, :, ::-1] if is_mirrored else second)
                for low, high in part[same].tolist():
                    kept.setdefault((low, high), is_mirrored)
            left -= len(pairs)
            if left < 0:
                return _sorted(kept, is_complete=False)
    return _sorted(kept, is_complete=True)


def _shown(hashes: Hashes, look: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.int64]:
    """Positions of all pictures but those that show nothing among many of one hash, which are as many pairs."""
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero(counts[inverse] > _CROWD).tolist()
    flat = [index for index in crowded if are_flat(look(index)[None])[0]]
    return np.delete(np.arange(len(hashes)), flat)


def _sorted(kept: dict[tuple[int, int], bool], *, is_complete: bool) -> Copies:
    pairs = sorted(kept)
    mirrored = np.array([kept[pair] for pair in pairs], bool)
    return Copies(np.array(pairs, np.int64).reshape(-1, 2), mirrored, is_complete)


def joined(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Returns the groups of two or more that the pairs join, each sorted, ordered by their first.

    Example:
        >>> joined([(4, 7), (1, 2), (2, 9)])
        [(1, 2, 9), (4, 7)]
    """
    leader: dict[int, int] = {}

    def lead(one: int) -> int:
        while (above := leader.setdefault(one, one)) != one:
            leader[one] = leader[above]
            one = above
        return one

    for first, second in pairs:
        low, high = sorted((lead(first), lead(second)))
        leader[high] = low
    groups: dict[int, list[int]] = {}
    for one in sorted(leader):
        groups.setdefault(lead(one), []).append(one)
    return sorted(tuple(group) for group in groups.values())
