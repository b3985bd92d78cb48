"""Starts several processes of one run on this machine; over several machines `torchrun` does."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unpool.errors import STOP_SIGNALS, EnvironmentFault
from unpool.launched import STARTER, STORE, cores, environment
from unpool.recipe import early_recipe
from unpool.streams import write_message

_LOOK_S = 0.1
_PATIENCE_S = 30.0  # from a signal to the end of a process, in which it saves
_LAST_WORDS_S = 10.0  # for a process that the others have lost, which may be about to leave by a code of its own
_LOST = EnvironmentFault.exit_code  # of a process that has lost another, among others


def more_processes(recipe: str | Path, overrides: Sequence[str]) -> int:
    """How many processes `train.processes` of a recipe asks this one to start; 0 where it trains itself."""
    asked = early_recipe(recipe, overrides).train.processes
    return asked if asked > 1 and environment().world_size == 1 else 0


def start_processes(count: int) -> int:
    """Runs this command line again in so many processes; returns the exit code of the one that failed, or 0.

    They meet in a file that only this user can read, and exchange by the loopback interface alone. Each gets its share
    of the cores, where the user does not say how many threads. A signal to this process reaches each of them.
    """
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // count)))
    write_message(f"starting {count} processes with {threads} {'thread' if threads == '1' else 'threads'} each")
    with tempfile.TemporaryDirectory(prefix="unpool-") as folder, _signals_noted() as noted:
        shared = {
            "OMP_NUM_THREADS": threads,
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo"),
            STORE: str(Path(folder, "store")),
            STARTER: str(os.getpid()),
            **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(count)),
        }
        command = [sys.executable, *sys.orig_argv[1:]]
        children = [
            subprocess.Popen(
                command,
                env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                start_new_session=True,  # a signal of the terminal comes once, by way of this process
            )
            for rank in range(count)
        ]
        return _wait(children, noted)


def _wait(children: Sequence[subprocess.Popen[bytes]], noted: list[int]) -> int:
    """Passes signals on, and ends all where one fails; returns the exit code of that one, as a shell gives it."""
    code, passed, is_ending, failed_s, ends_s = 0, 0, False, float("inf"), float("inf")
    while None in [child.poll() for child in children]:  # each is looked at, also behind one that runs
        now_s = time.monotonic()
        for number in noted[passed:]:
            _send(children, number)
            ends_s = now_s + _PATIENCE_S
        passed = len(noted)
        if not is_ending:
            code = _code_of(children)
            failed_s = min(failed_s, now_s) if code else failed_s
            is_ending = code not in (0, _LOST) or now_s > failed_s + _LAST_WORDS_S
            if is_ending:
                _send(children, signal.SIGTERM)
                ends_s = now_s + _PATIENCE_S
        if now_s > ends_s:
            _send(children, signal.SIGKILL)
        time.sleep(_LOOK_S)
    code = code if is_ending else _code_of(children)
    return code if code >= 0 else 128 - code


def _code_of(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Why processes have failed: a code other than that of those that lost another, where there is one; 0 of none."""
    codes = [child.returncode for child in children if child.returncode]
    return next((code for code in codes if code != _LOST), codes[0] if codes else 0)


def _send(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


@contextmanager
def _signals_noted() -> Iterator[list[int]]:
    """Inside, the numbers of the signals that came."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
