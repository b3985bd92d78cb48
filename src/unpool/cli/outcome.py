"""Turns the error that ended a command into one message and an exit code."""

import errno
import signal
import sys
import traceback
from collections.abc import Callable

from unpool.cli.console import abandon_output, flush
from unpool.cli.signals import Interrupted, line_of
from unpool.errors import EnvironmentFault, Stopped, TimeLimit, UnpoolError, is_out_of_memory, require_files, shortened
from unpool.launched import environment, is_first_here
from unpool.streams import write_message

_ADVICE = {
    errno.ENOSPC: "the disk is full; free space, or choose another path",
    errno.EDQUOT: "the disk quota is used up; free space, or choose another path",
    errno.EACCES: "permission is missing; change it, or choose another path",
    errno.EPERM: "permission is missing; change it, or choose another path",
    errno.EROFS: "the file system is read-only; choose another path",
    errno.ENAMETOOLONG: "this name is longer than the file system allows; choose another path",
    errno.ELOOP: "symbolic links lead in a circle; choose another path",
    errno.EIO: "the disk failed; check it, or choose another path",
    errno.ESTALE: "the network file system was mounted anew; start again",
    errno.ENOMEM: "memory is used up; lower train.batch or data.workers",
}
_MEMORY = "out of memory; lower train.batch, data.size or data.workers, or set data.memory=false"


def guarded(verb: Callable[[], int], *, debug: bool) -> int:
    """Runs a verb; an error of the user's or the machine's becomes one message on standard error.

    Args:
        verb: the function to run; returns its exit code.
        debug: show the traceback as well.

    Returns:
        The verb's exit code, or that of the error.

    Raises:
        Exception: any other error of the verb: a fault of this code.
    """
    try:
        code = verb()
        flush()
    except KeyboardInterrupt as error:
        abandon_output()
        number = error.number if isinstance(error, Interrupted) else signal.SIGINT
        if is_first_here():
            write_message(_stop(line_of(number), error))
        return 128 + number
    except (Stopped, TimeLimit) as error:
        abandon_output()
        _say(error, _stop(str(error), error))
        return error.exit_code
    except (UnpoolError, MemoryError, OSError, RuntimeError, ImportError) as error:
        fault = _fault(error)
        if fault is None:
            raise
        abandon_output()
        return _refuse(fault, debug=debug)
    return code


def _refuse(fault: UnpoolError, *, debug: bool) -> int:
    if debug and sys.stderr is not None:
        traceback.print_exc()
    _say(fault, "\n".join([f"error: {fault}", *_notes(fault)]))
    return fault.exit_code


def _say(error: UnpoolError, text: str) -> None:
    """Writes a message, of an error of all processes by the leader alone, and of another process's with its number."""
    rank = environment().rank
    if not (rank and error.is_of_all):
        write_message(f"process {rank}: {text}" if rank else text)


def _stop(text: str, error: BaseException) -> str:
    """One line, since a stop that was asked for is no error: `stopped: saved at step 7; resume with: ...`."""
    notes = "; ".join(_notes(error))
    return f"{text}: {notes}" if notes else text


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])  # exists once add_note was called


def _fault(error: Exception) -> UnpoolError | None:
    """The user's or the machine's fault that ended a verb; None where it is one of this code."""
    try:
        require_files(error)
    except EnvironmentFault as fault:
        return fault
    if isinstance(error, UnpoolError):
        return error
    if isinstance(error, OSError):
        advice = _ADVICE.get(error.errno or 0)
        path = f"{shortened(str(error.filename))}: " if error.filename is not None else ""
        return EnvironmentFault(f"{path}{advice}") if advice else None
    is_memory = isinstance(error, MemoryError | RuntimeError) and is_out_of_memory(error)
    return EnvironmentFault(_MEMORY) if is_memory else None
