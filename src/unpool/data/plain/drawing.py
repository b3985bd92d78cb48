"""Whether a data set draws random numbers, and from which generators."""

from collections.abc import Sequence
from typing import Any

from unpool.data.equality import content_of
from unpool.data.plain.reader import Drawing, by_key, item_of
from unpool.data.seeding import private_states, seed_generators, shared_restored, shared_states


def find_drawing(dataset: Any, indices: Sequence[int], gives: Sequence[str]) -> Drawing:
    """Whether reading items at these positions draws random numbers, and from which generators.

    They are read twice by the same numbers of the shared generators, and once by others.
    """
    with shared_restored():
        first = _reading(dataset, indices, gives, seed=0)
        private = private_states(dataset)
        again = _reading(dataset, indices, gives, seed=0)
        if [content for content, _ in first] != [content for content, _ in again] or private_states(dataset) != private:
            return "private"
        return "shared" if _reading(dataset, indices, gives, seed=1) != again else ""


def _reading(dataset: Any, indices: Sequence[int], gives: Sequence[str], *, seed: int) -> list[tuple[Any, list[Any]]]:
    """Content of each item, and states of the shared generators that its reading drew from or set."""
    read = []
    for index in indices:
        seed_generators(seed, 0, index)
        before = shared_states()
        try:
            content = content_of(by_key(item_of(dataset, index), gives))
        except OSError:  # the scan names the file
            continue
        read.append((content, [now for was, now in zip(before, shared_states(), strict=True) if now != was]))
    return read
