import math

import pytest

from unpool.training.schedules import SCHEDULES, build_schedule, with_cycles


def test_constant_schedule_stays():
    schedule = build_schedule("constant", lr=0.3, total_steps=5)
    assert [schedule(step) for step in range(5)] == [0.3] * 5


def test_step_schedule_falls_at_each_milestone():
    schedule = build_schedule("step", lr=1.0, total_steps=10, milestones=(6, 3), gamma=0.1)
    assert [schedule(step) for step in (0, 2, 3, 5, 6, 9)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_schedule_is_half_way_in_the_middle():
    schedule = build_schedule("cosine", lr=2.0, total_steps=100)
    assert schedule(0) == 2.0
    assert schedule(50) == pytest.approx(1.0)
    assert schedule(25) == pytest.approx(1 + math.cos(math.pi / 4))


def test_poly_schedule_is_its_formula():
    schedule = build_schedule("poly", lr=0.01, total_steps=40, power=0.9)
    assert schedule(30) == pytest.approx(0.01 * 0.25**0.9)


def test_warmup_rises_in_equal_parts_and_the_rest_starts_at_the_peak():
    schedule = build_schedule("cosine", lr=1.0, total_steps=20, warmup_steps=4)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_onecycle_peaks_after_three_tenths_and_ends_near_zero():
    schedule = build_schedule("onecycle", lr=1.0, total_steps=100)
    rates = [schedule(step) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[30] == 1.0
    assert rates[-1] == pytest.approx(1 / 250_000)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_positive_in_the_run_and_keeps_its_last_rate_after_it(name):
    schedule = build_schedule(name, lr=0.1, total_steps=12, warmup_steps=2, milestones=(5,))
    assert all(0 < schedule(step) <= 0.1 + 1e-12 for step in range(12))
    assert schedule(50) == schedule(11)


def test_rate_of_averaging_is_the_one_reached_the_one_set_or_falls_in_cycles():
    schedule = build_schedule("cosine", lr=1.0, total_steps=12)
    kept, chosen = (with_cycles(schedule, start=6, lr=lr, cycle=None) for lr in (None, 0.3))
    assert [kept(step) for step in range(6)] == [schedule(step) for step in range(6)]
    assert [kept(step) for step in (6, 9, 30)] == pytest.approx([0.5] * 3)
    assert [chosen(step) for step in (5, 6, 11)] == [schedule(5), 0.3, 0.3]
    cycles = with_cycles(schedule, start=6, lr=0.3, cycle=2)
    assert [cycles(step) for step in range(6, 10)] == pytest.approx([0.18, 0.06, 0.18, 0.06])


def test_unknown_schedule_lists_the_known_ones():
    with pytest.raises(ValueError, match="'cosin' is unknown; choose one of constant, step, cosine"):
        build_schedule("cosin", lr=0.1, total_steps=3)


def test_warmup_that_leaves_no_step_is_refused():
    with pytest.raises(ValueError, match=r"5 of 5 steps.*lower warmup_epochs"):
        build_schedule("poly", lr=0.1, total_steps=5, warmup_steps=5)
