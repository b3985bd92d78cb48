import math

import pytest

from tests.training.toy_run import Broken, Loader, make_job
from unpool.errors import Diverged, Stopped
from unpool.report.rates import rate_page
from unpool.training.rate_range import HIGH, LOW, range_test, read_curve

RATES = [10.0 ** (number / 10 - 5) for number in range(60)]


def curve(*, low=-4.0, best=-1.0, noise=0.0):
    """Losses that fall from the rate 10^low to a minimum at 10^best, from which they rise as fast."""
    losses = []
    for number, rate in enumerate(RATES):
        share = (math.log10(rate) - low) / (best - low)
        losses.append(1 + abs(1 - max(share, 0.0)) + noise * (-1) ** number)
    return read_curve(RATES, losses)


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_proposed():
    report = curve(noise=0.01)
    assert report.lowest == pytest.approx(0.1, rel=0.3)
    assert report.proposal == pytest.approx(0.1 * report.lowest, rel=0.05)
    assert report.too_low == pytest.approx(10 ** (-4 + 0.1 * 3), rel=0.3)
    assert report.too_high == pytest.approx(10 ** (-1 + 0.2 * 3), rel=0.7)


def test_proposal_is_never_too_low_and_a_loss_that_still_falls_has_no_rate_too_high():
    steep = curve(low=-1.5, best=-1.0)
    assert steep.proposal is not None
    assert steep.proposal >= 0.95 * steep.too_low > 0.1 * steep.lowest
    assert "is proposed, the first that is not too low; the loss is lowest at 0.1, a tenth of" in steep.words()
    assert "is proposed, a tenth of 0.1, where the loss is lowest" in curve().words()
    falling = curve(best=2.0)
    assert falling.too_high is None
    assert "the highest that was tried, it does not rise yet" in falling.words()


def test_loss_that_falls_less_than_it_varies_proposes_nothing():
    report = read_curve(RATES, [1 + 0.1 * (-1) ** (number // 2) for number in range(60)])
    assert report.proposal is None
    assert "no rate from 1e-05 to 7.94 lowered the loss" in report.to_text()
    assert "too low up to" not in rate_page(report, title="mine")


def test_loss_that_only_rises_has_no_rate_that_is_too_low_or_too_high():
    report = read_curve(RATES, [1 + 0.1 * number for number in range(60)], broke_at=8.0)
    assert (report.proposal, report.too_low, report.too_high) == (None, None, None)
    assert "too" not in report.to_text().split("no rate")[0]


def test_curve_as_text_and_page_says_what_is_too_low_and_too_high():
    report = curve()
    text, page = report.to_text(), rate_page(report, title="mine: learning rate")
    lines = text.splitlines()
    assert lines[1].endswith("too low")
    assert lines[-3].endswith("too high")
    assert f"train.lr={report.proposal:.2g} is proposed" in text
    assert "proposed train.lr" in page
    assert page.count('class="line') == 2
    assert ">0.001</text>" in page  # a tick of a logarithmic axis


def test_rate_rises_by_equal_factors_until_the_loss_has_grown_or_the_steps_are_over():
    job = make_job()
    report = range_test(job, steps=40)
    assert report.rates[0] == LOW
    ratios = [after / before for before, after in zip(report.rates, report.rates[1:], strict=False)]
    assert ratios == pytest.approx([(HIGH / LOW) ** (1 / 39)] * len(ratios))
    assert 30 < len(report.losses) <= 40
    assert job.counters.step == 0
    assert job.loader.closed


def test_loss_that_is_no_number_ends_the_test_and_not_the_program():
    report = range_test(make_job(task=Broken(36), loader=Loader(batch=22)), steps=50)
    assert len(report.losses) == 35
    assert report.broke_at == pytest.approx(LOW * (HIGH / LOW) ** (35 / 49))
    with pytest.raises(Diverged, match=r"no number at a rate of 2.7e-06, step 4 of 50, and a curve needs 30 losses"):
        range_test(make_job(task=Broken(4)), steps=50)


def test_rate_at_which_the_loss_is_no_number_is_too_high():
    falling = [2 - number / 60 for number in range(60)]
    report = read_curve(RATES, falling, broke_at=10.0)
    assert report.too_high == 10.0
    assert "at 10 it is no number: too high" in report.words()
    assert "does not rise yet" in read_curve(RATES, falling).words()
    rising = read_curve(RATES, falling[:50] + [2.0] * 10, broke_at=10.0)
    assert rising.too_high < 10
    assert "on it rises: too high" in rising.words()


def test_test_that_is_stopped_says_nothing_of_a_state():
    job = make_job()
    job.stop.number = 2
    with pytest.raises(Stopped) as stop:
        range_test(job, steps=40)
    assert not hasattr(stop.value, "__notes__")
