"""Sets up the process for speed: an allocator that keeps its memory, and no subnormal numbers.

glibc returns large blocks to the system after every step and faults every page in again on the next, which costs 20 to
40 % of a step of a deep network. It reads its settings when a process starts, so the command line restarts itself once,
before torch is imported.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from unpool.cli import signals
from unpool.errors import STOP_SIGNALS
from unpool.launched import environment

GUARD = "UNPOOL_RESTARTED"  # set it to any value to keep the process as it is
SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def prepare(*, from_shell: bool) -> None:
    """Sets up the process for speed, and imports what the verbs run.

    Args:
        from_shell: whether the command line was started from a shell; only then may the process be restarted, and only
            then signals raise from here on.
    """
    if from_shell:
        keep_memory()
    prepare_torch()
    import_module("unpool.run")
    if from_shell:
        signals.raise_once()


def keep_memory() -> None:
    """Restarts this process with SETTINGS in its environment if one is missing; does not return then.

    Settings of the user are kept. Where the system does not allow a restart, the run is slower, not wrong.
    """
    environment = {**SETTINGS, **os.environ, GUARD: str(os.getpid())}
    if GUARD in os.environ or not sys.executable or not _has_glibc() or SETTINGS.keys() <= os.environ.keys():
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with suppress(OSError), signals_held_back():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def is_restarted() -> bool:
    """Whether `keep_memory` has restarted this process: a restart keeps its number, which GUARD then has."""
    return os.environ.get(GUARD) == str(os.getpid())


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Holds signals back inside the block; a process that replaces this one inside it gets them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_torch() -> None:
    """Imports torch and has the processor round subnormal numbers to zero: it computes with them 100 times slower.

    One of several processes is spared torch's advice to look for fewer unused weights: which they are may change.
    """
    if environment().world_size > 1:
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # read when torch is imported
    import torch

    torch.set_flush_denormal(True)


def _has_glibc() -> bool:
    names = getattr(os, "confstr_names", {})  # not there on Windows
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in names and bool(os.confstr("CS_GNU_LIBC_VERSION"))
