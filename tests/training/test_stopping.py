import os
import signal
import threading
import time

import pytest

from unpool.errors import STOP_SIGNALS, Stopped, TimeLimit
from unpool.training.stopping import StopRequest

pytestmark = pytest.mark.usefixtures("heard_signals")


@pytest.mark.parametrize(("name", "code"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)])
def test_signal_is_noted_and_told_when_asked(name, code):
    words = "^stopped$" if name == "SIGINT" else f"^stopped by {name}$"
    with StopRequest() as stop:
        stop.check()
        os.kill(os.getpid(), signal.Signals[name])
        with pytest.raises(Stopped, match=words) as error:
            stop.check()
    assert error.value.exit_code == code


def test_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_second_interrupt_aborts_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped) as error:
            stop.check()
    assert error.value.exit_code == 130


def test_handlers_are_put_back_after_the_outermost_leaving():
    before = [signal.getsignal(number) for number in STOP_SIGNALS]
    with StopRequest() as stop:
        with stop:
            pass
        assert all(signal.getsignal(number) not in before for number in STOP_SIGNALS)
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


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
