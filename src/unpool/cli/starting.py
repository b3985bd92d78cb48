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

from unpool.errors import STOP_SIGNALS
from unpool.launched import STORE, cores, environment
from unpool.recipe import early_recipe
from unpool.streams import write_message

_LOOK_S = 0.1
_PATIENCE_S = 30.0  # from a signal to the end of a process, in which it saves


def more_processes(recipe: str | Path, overrides: Sequence[str]) -> int:
    """How many processes `train.processes` of a recipe asks this one to start; 0 where it trains itself."""
    asked = early_recipe(recipe, overrides).train.processes
    return asked if asked > 1 and environment().world_size == 1 else 0


def start_processes(count: int) -> int:
    """Runs this command line again in so many processes; returns the exit code of the one that failed first, or 0.

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
    """Passes signals on, and ends all where one fails."""
    first, ends_s, passed = 0, float("inf"), 0
    while any(child.poll() is None for child in children):
        for number in noted[passed:]:
            _send(children, number)
            ends_s = time.monotonic() + _PATIENCE_S
        passed = len(noted)
        failed = [child.returncode for child in children if child.returncode]
        if failed and not first:
            first, ends_s = failed[0], time.monotonic() + _PATIENCE_S
            _send(children, signal.SIGTERM)
        if time.monotonic() > ends_s:
            _send(children, signal.SIGKILL)
        time.sleep(_LOOK_S)
    codes = [child.returncode for child in children if child.returncode]
    code = first or (codes[0] if codes else 0)
    return code if code >= 0 else 128 - code


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
