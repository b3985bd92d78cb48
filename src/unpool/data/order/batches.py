"""Lists of positions cut into batches."""

from collections.abc import Iterable, Sequence

from unpool.errors import RecipeError


def check_batch(batch: int) -> None:
    """Raises RecipeError where a batch has no sample."""
    if batch < 1:
        raise RecipeError(f"batch is {batch}; expected at least 1")


def cut(runs: Iterable[Sequence[int]], batch: int, *, drop_last: bool) -> list[list[int]]:
    """Each run cut into batches of its own, of which the last may be smaller or, with `drop_last`, is left out then.

    Example:
        >>> cut([[0, 1, 2], [3, 4]], 2, drop_last=False)
        [[0, 1], [2], [3, 4]]
    """
    batches = [list(run[i : i + batch]) for run in runs for i in range(0, len(run), batch)]
    return [indices for indices in batches if len(indices) == batch] if drop_last else batches


def num_batches(count: int, batch: int, *, drop_last: bool) -> int:
    """Batches that `cut` makes of one run of `count` positions."""
    return count // batch if drop_last else -(-count // batch)
