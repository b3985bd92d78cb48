"""The two halves of the cases: one that checks were tuned on, and one that was kept apart for one run at the end."""

from benchmarks.mistakes import held, tuning
from benchmarks.mistakes.case import Case

HALVES: dict[str, tuple[Case, ...]] = {"tuning": tuning.CASES, "held": held.CASES}


def cases_of(half: str) -> tuple[Case, ...]:
    """The cases of one half.

    Raises:
        KeyError: there is no such half.
    """
    return HALVES[half]
