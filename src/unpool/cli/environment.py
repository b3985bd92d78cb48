"""What must be set before torch is imported: an allocator that keeps its memory; and right after: no subnormals.

glibc gives large blocks back to the system after every step and faults every page in again on the next, which costs 20
to 40 % of a step of a deep network. It reads its settings when a process starts, so the command line starts itself
anew, once.
"""

import os
import sys
from contextlib import suppress

GUARD = "UNPOOL_RESTARTED"  # set it to any value to keep the process as it is
SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


def prepare(*, from_shell: bool) -> None:
    """Sets the process up for speed; one that was called from Python is not replaced."""
    if from_shell:
        keep_memory()
    prepare_torch()


def keep_memory() -> None:
    """Starts this process anew with SETTINGS where that changes something; does not return then.

    What the user has set wins. Where the system does not let a process start itself anew, the run is slower, not wrong.
    """
    environment = {**SETTINGS, **os.environ, GUARD: "1"}
    if GUARD in os.environ or not sys.executable or not _has_glibc() or SETTINGS.keys() <= os.environ.keys():
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def prepare_torch() -> None:
    """Imports torch and has the processor round subnormal numbers to zero, which it would compute 100 times slower."""
    import torch

    torch.set_flush_denormal(True)


def _has_glibc() -> bool:
    names = getattr(os, "confstr_names", {})  # not there on Windows
    return sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in names and bool(os.confstr("CS_GNU_LIBC_VERSION"))
