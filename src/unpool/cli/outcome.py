"""What ended a command, as one message and one exit code."""

import errno
import sys
import traceback
from collections.abc import Callable

from unpool.cli.console import abandon_output, flush, tell
from unpool.errors import EnvironmentFault, UnpoolError

INTERRUPTED = 130
_ADVICE = {
    errno.ENOSPC: "the disk is full; free space, or write to another place",
    errno.EDQUOT: "the disk quota is used up; free space, or write to another place",
    errno.EACCES: "permission is missing; change it, or choose another place",
    errno.EPERM: "permission is missing; change it, or choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.EMFILE: "too many files are open; raise `ulimit -n`, or lower data.workers",
    errno.ENOMEM: "memory is used up; lower train.batch or data.workers",
}
_MEMORY = "out of memory; lower train.batch, data.size or data.workers, or set data.memory=false"


def guarded(verb: Callable[[], int], *, debug: bool) -> int:
    """Runs a verb; what the user or the machine did becomes one message, a fault of ours stays an exception."""
    try:
        code = verb()
        flush()
    except BrokenPipeError:  # `| head` has seen enough
        abandon_output()
        return 0
    except KeyboardInterrupt as error:
        tell("\n".join(["error: interrupted", *_notes(error)]))
        return INTERRUPTED
    except (UnpoolError, MemoryError, OSError, RuntimeError) as error:
        fault = error if isinstance(error, UnpoolError) else _environment_fault(error)
        if fault is None:
            raise
        abandon_output()
        return _refuse(fault, debug=debug)
    return code


def _refuse(fault: UnpoolError, *, debug: bool) -> int:
    if debug and sys.stderr is not None:
        traceback.print_exc()
    tell("\n".join([f"error: {fault}", *_notes(fault)]))
    return fault.exit_code


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])  # there once add_note was called


def _environment_fault(error: MemoryError | OSError | RuntimeError) -> EnvironmentFault | None:
    if isinstance(error, OSError):
        advice = _ADVICE.get(error.errno or 0)
        place = f"{error.filename}: " if error.filename is not None else ""
        return EnvironmentFault(f"{place}{advice}") if advice else None
    if isinstance(error, MemoryError) or _says_out_of_memory(str(error)):
        return EnvironmentFault(_MEMORY)
    return None


def _says_out_of_memory(text: str) -> bool:
    """Torch raises a bare RuntimeError for the host's memory, and a class of its own for a device's."""
    return any(words in text for words in ("can't allocate memory", "not enough memory", "out of memory"))
