"""Signals in the program, each in a process of its own: one line and 128 + the number, whatever it is doing."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.kill_resume import hear_signals
from benchmarks.stops import Started
from unpool.cli import main as command

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
HEAD = """
import os, sys, time
from unpool.cli import signals
from unpool.cli.environment import signals_held_back
me = os.getpid()
"""
ENDS = [
    (signal.SIGINT, 130, "stopped\n"),
    (signal.SIGTERM, 143, "stopped by SIGTERM\n"),
    (signal.SIGHUP, 129, "stopped by SIGHUP\n"),
]


def ignored_hangup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def run(code: str, *arguments: str, prepare=hear_signals) -> tuple[int, str]:
    """Exit code and all output of a script that has the modules `os`, `sys` and `signals`, and `me` as its own id."""
    words = [sys.executable, "-c", HEAD + textwrap.dedent(code), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, preexec_fn=prepare)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("number", "code", "line"), ENDS, ids=["interrupt", "termination", "hangup"])
def test_signal_while_modules_are_imported_ends_the_process_with_its_line(number, code, line):
    importing = """
        class Module:
            def __del__(self):  # where an exception would be lost
                os.kill(me, int(sys.argv[1]))
                time.sleep(0.01)

        signals.end_at_once()
        try:
            del (lambda: Module())().no_such_name
        except BaseException:
            pass
        print("still here")
    """
    assert run(importing, str(int(number))) == (code, line)


@pytest.mark.parametrize(("number", "code", "line"), ENDS, ids=["interrupt", "termination", "hangup"])
def test_signal_while_the_process_restarts_itself_is_not_lost(number, code, line):
    restarting = """
        signals.end_at_once()
        with signals_held_back():
            os.kill(me, int(sys.argv[1]))
            time.sleep(0.05)
            print("held back", flush=True)
            again = "from unpool.cli import signals; signals.end_at_once(); print('still here')"
            os.execve(sys.executable, [sys.executable, "-c", again], os.environ)
    """
    assert run(restarting, str(int(number))) == (code, f"held back\n{line}")


def test_signal_while_modules_are_imported_is_said_by_the_first_process_of_a_machine():
    code = "os.environ.update(RANK='1', WORLD_SIZE='2', LOCAL_RANK='1')\nsignals.end_at_once()\nos.kill(me, 15)"
    assert run(code) == (143, "")


def test_restart_that_fails_lets_signals_through_again():
    code = "signals.end_at_once()\nwith signals_held_back():\n    pass\nos.kill(me, 15)\ntime.sleep(9)"
    assert run(code) == (143, "stopped by SIGTERM\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_signal_of_a_verb_raises_and_the_second_ends_it(number):
    twice = """
        signals.raise_once()
        try:
            os.kill(me, int(sys.argv[1]))
            time.sleep(9)
        except signals.Interrupted as error:
            print("raised", error.number, flush=True)
        os.kill(me, int(sys.argv[1]))
        time.sleep(9)
    """
    code, output = run(twice, str(int(number)))
    assert code == 128 + number
    assert output.startswith(f"raised {int(number)}\nstopped")
    assert output.count("\n") == 2


def test_signal_whose_exception_is_lost_ends_the_process_in_time():
    lost = """
        signals.LONGEST_S = 0.2
        signals.raise_once()
        try:
            os.kill(me, 15)
            time.sleep(9)
        except KeyboardInterrupt:
            pass
        time.sleep(9)
    """
    assert run(lost) == (143, "stopped by SIGTERM\n")


def test_signal_after_all_is_done_changes_no_exit_code():
    assert run("signals.exit_with(3)\nos.kill(me, 2)\ntime.sleep(9)") == (3, "")


def test_signal_that_nohup_ignores_stays_ignored():
    code = "signals.end_at_once(); signals.raise_once()\nos.kill(me, 1)\ntime.sleep(0.1)\nprint('goes on')"
    assert run(code, prepare=ignored_hangup) == (0, "goes on\n")


@pytest.mark.parametrize("way", ["process", "terminal"])
def test_interrupt_of_the_program_before_its_imports_is_one_line(tmp_path, way):
    program = [sys.executable, "-m", "unpool", "train", "scenes_unet", "--run", "run"]
    started = Started(program, way=way, folder=tmp_path)
    while not started.is_ready():
        pass
    started.stop(signal.SIGINT)
    assert started.end() == 130
    assert started.output.decode().rpartition("\x1b[?25h")[2].strip().splitlines()[-1] == "stopped"
    assert not (tmp_path / "run").exists()


def test_call_from_python_leaves_every_handler_alone(fake):
    before = [signal.getsignal(number) for number, _, _ in ENDS]
    assert command.main(["evaluate", "r"]) == 0
    assert [signal.getsignal(number) for number, _, _ in ENDS] == before


def test_program_holds_its_handlers_until_it_ends(fake, monkeypatch):
    before = [signal.getsignal(number) for number, _, _ in ENDS]
    monkeypatch.setattr(sys, "argv", ["unpool", "evaluate", "r"])
    monkeypatch.setenv("UNPOOL_RESTARTED", "1")
    Path("r").mkdir()
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    fake.error = KeyboardInterrupt()
    assert command.main() == 130
    os.kill(os.getpid(), signal.SIGTERM)
    assert ends == [130]
    assert [signal.getsignal(number) for number, _, _ in ENDS] != before
