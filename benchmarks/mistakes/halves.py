"""The two halves of the cases: one that checks were tuned on, and one that was kept apart for one run at the end."""

from importlib import import_module

from benchmarks.mistakes.case import Case

HALVES = ("tuning", "held")


def cases_of(half: str) -> tuple[Case, ...]:
    """The cases of one half; the held ones need a package of the extra `weights`, so a half is read when asked for.

    Raises:
        ModuleNotFoundError: there is no such half, or the package of weights is absent.
    """
    return import_module(f"benchmarks.mistakes.{half}").CASES
