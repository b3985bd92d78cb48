"""The page about the checks is made of the checks, and each cause has a name that planted mistakes have too."""

from benchmarks import checks_page
from benchmarks.mistakes.case import causes
from unpool.checks.findings import SUBJECTS
from unpool.checks.reasons import ORDER
from unpool.checks.table import CHECKS


def test_page_is_what_the_checks_say():
    assert checks_page.PAGE.read_text(encoding="utf-8") == checks_page.page(), "run python -m benchmarks.checks_page"


def test_every_cause_that_a_check_can_find_has_a_rank_and_can_be_planted():
    known = {cause for check in CHECKS for cause in check.causes}
    assert known <= set(causes())
    assert set(ORDER) == set(causes())
    assert len(ORDER) == len(set(ORDER))


def test_every_check_says_all_that_a_reader_needs():
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))
    for check in CHECKS:
        assert check.subject in SUBJECTS
        assert all((check.symptom, check.measure, check.threshold, check.origin, check.causes)), check.name
        assert all(check.causes.values()), check.name
