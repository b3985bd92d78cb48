"""Makes all checks of one run within its time."""

import time
from collections.abc import Callable, Sequence

from unpool.checks.findings import Check, Finding, not_applicable
from unpool.checks.report import Report, Result
from unpool.checks.setup import Setup
from unpool.checks.table import CHECKS
from unpool.tracing.foreign import foreign_code

_LATE, _FAILED = "no time was left", "could not be measured"
_UNSEEN = "what step keeps elsewhere (a scaler, an average of weights, counters) was not put back"


def look(
    setup: Setup,
    title: str,
    *,
    checks: Sequence[Check] = CHECKS,
    only_quick: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Makes the checks one after another; model, optimiser and generators are afterwards as they were.

    Args:
        setup: the run.
        title: of the report.
        checks: to make.
        only_quick: leave out those that take longer than a second or two.
        progress: called with (checks made, checks in all).

    A check that raises has measured nothing: it is not applicable, with what was raised.
    """
    chosen = [check for check in checks if check.is_quick or not only_quick]
    results: list[Result] = []
    cut = [_UNSEEN] if setup.step is not None else []
    for check in chosen:
        progress(len(results), len(chosen))
        start = time.perf_counter()
        findings = _findings(check, setup)
        results.append(Result(check, findings, time.perf_counter() - start))
    progress(len(chosen), len(chosen))
    if setup.sample_s and setup.few is not None:
        cut.append(f"the network takes {setup.sample_s:.2g} s a sample: batches were cut to {setup.few} samples")
    if late := _beginning(results, _LATE):
        cut.append(f"{_LATE} for: {', '.join(late)}; give more minutes")
    if failed := _beginning(results, _FAILED):
        cut.append(f"{len(failed)} checks {_FAILED}, and say nothing of this run: {', '.join(failed)}")
    return Report(title, tuple(results), (*_taken_for(setup), *cut), setup.budget.used_s())


def _beginning(results: Sequence[Result], text: str) -> list[str]:
    """Names of the checks that were not made, for a reason that begins so."""
    return [one.check.name for one in results if any(finding.about.startswith(text) for finding in one.findings)]


def _taken_for(setup: Setup) -> list[str]:
    """What the targets are taken for, where nobody said it."""
    if setup.form is not None:
        return []
    with foreign_code() as failure:
        return [f"targets are taken for: {setup.target_form}; where that is wrong, say what they are by targets="]
    return [f"what the targets are could not be seen ({failure}): say it by targets="]


def _findings(check: Check, setup: Setup) -> tuple[Finding, ...]:
    if setup.budget.left_s() == 0:
        return (not_applicable(_LATE),)
    made: Finding | Sequence[Finding] = ()
    with foreign_code() as failure, setup.trying():
        made = check.look(setup)
    if failure.error is not None:
        return (not_applicable(f"{_FAILED}: {type(failure.error).__name__}: {failure}"),)
    return (made,) if isinstance(made, Finding) else tuple(made)
