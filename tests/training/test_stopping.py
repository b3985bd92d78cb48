import os
import signal
import threading
import time

import pytest

from unpool.errors import Stopped, TimeLimit
from unpool.training.stopping import StopRequest


def test_signal_is_noted_and_told_when_asked():
    with StopRequest() as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped, match="stopped by SIGTERM") as error:
            stop.check()
    assert error.value.exit_code == 143


def test_second_interrupt_aborts_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped) as error:
            stop.check()
    assert error.value.exit_code == 130


def test_handlers_are_put_back_after_the_outermost_leaving():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest() as stop:
        with stop:
            pass
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def inside():
        with StopRequest(0.0) as stop:
            seen.append(signal.getsignal(signal.SIGINT))
            with pytest.raises(TimeLimit):
                stop.check()

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


def test_time_limit_counts_from_the_first_entering(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stop = StopRequest(5.0)
    with stop:
        now[0] = 104.9
        stop.check()
        now[0] = 105.0
        with stop, pytest.raises(TimeLimit, match="time limit of 5 s"):
            stop.check()
