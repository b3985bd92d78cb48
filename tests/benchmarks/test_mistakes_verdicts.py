"""What a case of the catch rate is worth: the cause that is named first decides."""

import pytest

from benchmarks.mistakes.__main__ import Ended, summary, verdict
from benchmarks.mistakes.case import Case, Folders, Plain


def made(folders: Folders) -> Plain:
    raise AssertionError(folders)


MISTAKE = Case("rate", made, "noise", "net", "made up", cause="optim.rate_high", of="run", also=("optim.precision",))
HEALTHY = Case("run", made, "noise", "net", "made up")


def result(*causes: str, warnings: tuple[str, ...] = (), **more: str) -> dict:
    first = causes[0] if causes else ""
    return {"cause": first, "causes": list(causes), "warnings": list(warnings), "seconds": 1.0, **more}


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (result("optim.rate_high", "network.variance"), "caught"),
        (result("optim.precision"), "caught"),
        (result("network.variance", "optim.rate_high"), "other cause"),
        (result(warnings=("optim.rate_high",)), "warned"),
        (result(warnings=("norm.bias_before", "optim.rate_high")), "other cause"),
        (result("network.variance", warnings=("optim.rate_high",)), "other cause"),
        (result(), "missed"),
        (result("optim.rate_high", failure="KeyError"), "crashed"),
    ],
)
def test_cause_that_is_named_first_decides(said, word):
    assert verdict(MISTAKE, said) == word


@pytest.mark.parametrize(("said", "word"), [(result(), "right"), (result("data.leak"), "false alarm")])
def test_healthy_run_that_fails_is_a_false_alarm(said, word):
    assert verdict(HEALTHY, said) == word
    assert verdict(HEALTHY, result(warnings=("norm.bias_before",))) == "right"


def test_summary_counts_mistakes_and_healthy_runs_apart():
    said = [
        (MISTAKE, result("optim.rate_high")),
        (MISTAKE, result(warnings=("optim.rate_high",))),
        (MISTAKE, result()),
        (HEALTHY, result("data.leak", warnings=("norm.bias_before",))),
    ]
    rows = {row.what: row.figure for row in summary([Ended(case, one, verdict(case, one)) for case, one in said])}
    assert rows["planted mistakes whose cause is named first"] == "2 of 3 (67 %)"
    assert rows["of these, by a warning where nothing fails"] == "1"
    assert rows["healthy runs that fail; warnings on healthy runs"] == "1 of 1; 1"
