"""Phases of an answer add up to its time, each second in one of them."""

import pytest

from unpool.ops import phases
from unpool.ops.phases import measured, median_seconds, phase


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes one second further at each look."""
    looks = iter(range(1000))
    monkeypatch.setattr(phases, "_now", lambda: float(next(looks)))


def test_time_within_a_phase_counts_to_the_inner_one_alone(clock):
    with measured() as seconds:
        with phase("head"), phase("pool"):
            pass
        with phase("nms"):
            pass
    assert seconds == {"head": 2.0, "pool": 1.0, "nms": 1.0, "rest": 3.0}


def test_phase_is_left_by_an_error_too(clock):
    with measured() as seconds, pytest.raises(ValueError, match="broken"), phase("head"):
        raise ValueError("broken")
    assert seconds == {"head": 1.0, "rest": 2.0}


def test_nothing_is_counted_outside_and_by_another_measurement(clock):
    with phase("head"), measured() as seconds, phase("nms"):
        pass
    assert list(seconds) == ["nms", "rest"]


def test_medians_are_those_of_the_passes_after_the_warm_ones(monkeypatch):
    times = iter([50.0, 1.0, 9.0, 2.0])
    now = [0.0]
    monkeypatch.setattr(phases, "_now", lambda: now[0])

    @phase("head")
    def ask():
        now[0] += next(times)

    assert median_seconds(ask, passes=3, warm_up=1) == {"head": 2.0, "rest": 0.0, "total": 2.0}
