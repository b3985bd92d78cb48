from unpool.training.stopwatch import Stopwatch


def test_time_of_a_resumed_run_is_that_of_all_its_processes(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    first = Stopwatch(100.0)
    now = 130.0
    second = Stopwatch(1000.0)
    second.load_state_dict(first.state_dict())
    now = 1012.0
    assert second.time_s() == 42.0
