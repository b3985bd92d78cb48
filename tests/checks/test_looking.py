"""A report says what its checks did not see, and what was taken for granted."""

import pytest
from torch import nn

import unpool
from tests.checks.small_runs import batches, net, run
from unpool.checks.budget import Budget
from unpool.checks.findings import Check, Finding, passed
from unpool.checks.looking import look


def made(name: str, found, *, is_quick: bool = False) -> Check:
    return Check(name, "data", {"data.leak": "mend it"}, "s", "m", "t", "o", found, is_quick)


def broken(setup):
    raise KeyError("a column")


def test_check_that_raises_is_named_as_one_that_says_nothing():
    report = look(run(), "x", checks=[made("first", broken), made("second", lambda setup: passed("all is well"))])
    assert report.is_right
    assert [text for text in report.cut if "1 checks could not be measured" in text and text.endswith("first")]
    assert [one.verdict for one in report.findings] == ["not applicable", "pass"]


def test_checks_for_which_no_time_is_left_are_named():
    report = look(run(budget=Budget(0)), "x", checks=[made("late", broken)])
    assert [text for text in report.cut if text.startswith("no time was left for: late")]


def test_only_quick_checks_are_made_where_that_is_asked():
    both = [made("slow", broken), made("quick", lambda setup: passed("done"), is_quick=True)]
    assert [one.check.name for one in look(run(), "x", checks=both, only_quick=True).results] == ["quick"]


@pytest.mark.parametrize(("form", "is_said"), [(None, True), ("class", False)])
def test_report_says_what_targets_were_taken_for_unless_it_was_said(form, is_said):
    report = look(run(form=form), "x", checks=[])
    assert any("targets are taken for: class;" in text for text in report.cut) is is_said


def test_form_of_targets_can_be_said():
    report = unpool.check(
        model=net(), train=batches(2), loss=nn.functional.cross_entropy, targets="class", minutes=0.02
    )
    assert not [text for text in report.cut if "targets" in text]


def test_failure_is_named_before_a_warning():
    late = made("late", lambda setup: Finding("fail", "wrong", cause="optim.rate_high"))
    early = made("early", lambda setup: Finding("warn", "odd", cause="data.leak"))
    report = look(run(), "x", checks=[early, late])
    assert (report.cause, [one.cause for one in report.wrong]) == ("optim.rate_high", ["optim.rate_high", "data.leak"])
    assert not report.is_right
