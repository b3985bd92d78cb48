"""Several processes that one command starts: it ends all where one fails, and leaves by the exit code of that one."""

import sys

import pytest

from unpool.cli import starting

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")


@pytest.fixture
def start(monkeypatch):
    """Starts two processes with a line of shell each, and returns the exit code."""

    def run(first, second):
        monkeypatch.setattr(sys, "executable", "/bin/sh")
        monkeypatch.setattr(sys, "orig_argv", ["python", "-c", f"if test $RANK = 0; then {first}; else {second}; fi"])
        monkeypatch.setattr(starting, "_LOOK_S", 0.02)
        monkeypatch.setattr(starting, "_LAST_WORDS_S", 0.5)
        return starting.start_processes(2)

    return run


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("exit 0", "exit 0", 0),
        ("exit 4", "sleep 0.3; exit 3", 3),  # the first has lost the second before that had ended
        ("sleep 0.1; exit 4", "exit 5", 5),
        ("exit 4", "kill -9 $$", 137),
        ("exit 4", "exec sleep 9", 4),
    ],
)
def test_exit_code_is_that_of_the_process_that_failed(start, first, second, code):
    assert start(first, second) == code


def test_any_process_that_fails_ends_those_that_run_on(start, tmp_path):
    assert start(f"sleep 1; touch {tmp_path}/end", "exit 143") == 143
    assert not (tmp_path / "end").exists()


def test_processes_know_who_has_started_them(start):
    assert start("test $PPID = $UNPOOL_STARTER || exit 7", "true") == 0
