"""Lets one process of a run say an error that several of them meet."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from torch._C._distributed_c10d import Store

from unpool.errors import UnpoolError

SAME = timedelta(seconds=2)  # in which the leader meets the error of another process, where it is one of all


@contextmanager
def said_once(store: Store, rank: int) -> Iterator[None]:
    """Marks an error that leaves it with `is_of_all` where another process says the same words, as of a wrong recipe.

    Args:
        store: in which the processes of one run meet.
        rank: of this process.
    """
    try:
        yield
    except UnpoolError as error:
        error.is_of_all = error.is_of_all or _is_said(store, rank, f"said/{type(error).__name__} {error}")
        raise


def _is_said(store: Store, rank: int, words: str) -> bool:
    """Whether another process says these words: the leader, or, where it does not in time, the first to ask."""
    try:
        if rank == 0:
            store.set(words, "")
            return False
        try:
            store.wait([words], SAME)
        except RuntimeError:  # not in time
            return store.add(f"{words}, by others", 1) > 1
    except RuntimeError:  # the store is gone
        return False
    return True
