"""Makes all checks of one run within its time."""

import time
from collections.abc import Callable, Sequence

from unpool.checks.findings import Check, Finding, not_applicable
from unpool.checks.report import Report, Result
from unpool.checks.setup import Setup
from unpool.checks.table import CHECKS
from unpool.tracing.foreign import foreign_code

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
    late = [result.check.name for result in results if any(one.about == _LATE for one in result.findings)]
    cut += [f"no time was left for: {', '.join(late)}; give more minutes"] if late else []
    return Report(title, tuple(results), tuple(cut), setup.budget.used_s())


_LATE = "no time was left"


def _findings(check: Check, setup: Setup) -> tuple[Finding, ...]:
    if setup.budget.left_s() == 0:
        return (not_applicable(_LATE),)
    made: Finding | Sequence[Finding] = ()
    with foreign_code() as failure, setup.trying():
        made = check.look(setup)
    if failure.error is not None:
        return (not_applicable(f"could not be measured: {type(failure.error).__name__}: {failure}"),)
    return (made,) if isinstance(made, Finding) else tuple(made)
