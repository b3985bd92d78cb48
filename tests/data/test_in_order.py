import threading

from unpool.data.in_order import called_in_order


def test_caller_that_stops_early_waits_for_no_call():
    stopped, done = threading.Event(), []

    def call(index):
        if index >= 8:
            stopped.wait(0.2)
        done.append(index)

    calls = called_in_order(call, range(64), threads=2)
    next(calls)
    calls.close()
    assert len(done) < 30
    stopped.set()
