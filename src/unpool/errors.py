"""Errors with a cause outside of this code, and their exit codes. Any other exception is a fault of this code."""

import errno
import os
import signal
from typing import Self

STOP_SIGNALS = tuple(number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP"))
MOST_SHOWN = 100  # characters of a value that a message repeats


class UnpoolError(Exception):
    """Base of these errors; the message has the value, what was expected, and what to do.

    Attributes:
        exit_code: of the program that it ends.
        is_of_all: whether every process of a run raises it, so that one of them may say it for all.
        cause: identifier of what is wrong, as `check` names it; empty where it has none.
    """

    exit_code = 4
    is_of_all = False
    cause = ""

    def of(self, cause: str) -> Self:
        """Returns the error with the identifier of its cause.

        >>> DataError("mask of another size").of("data.mask_size").cause
        'data.mask_size'
        """
        self.cause = cause
        return self


class RecipeError(UnpoolError, ValueError):
    """The command line or a recipe is wrong."""

    exit_code = 2


class DataError(UnpoolError, ValueError):
    """An image, a label, a mask, or the folder that holds them cannot be used."""

    exit_code = 3


class ModelFileError(UnpoolError, ValueError):
    """A run directory, checkpoint or weights file cannot be used."""

    exit_code = 3


class NotConvertible(UnpoolError, ValueError):
    """A network cannot be converted as requested; the message names the layer."""

    exit_code = 2


class EnvironmentFault(UnpoolError, RuntimeError):
    """The machine, a package, memory, a disk, or a worker process failed."""

    exit_code = 4


class Diverged(UnpoolError, ArithmeticError):
    """The loss or a gradient is not finite."""

    exit_code = 5


class TimeLimit(UnpoolError):
    """Stopped at the time limit; the run can be resumed."""

    exit_code = 75


class Stopped(UnpoolError):
    """Stopped by a signal; the run was saved and can be resumed."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        """So that processes can send it to one another."""
        return type(self), (str(self), self.signal_number)


def quoted(value: object) -> str:
    """A value as a message repeats it: as Python writes it, of a long one the two ends, at most 100 characters.

    Example:
        >>> quoted("resnet"), len(quoted("resnet" * 1000))
        ("'resnet'", 100)
    """
    return shortened(repr(value))


def shortened(text: str) -> str:
    """A text as a message repeats it: of a long one the two ends, at most 100 characters.

    Example:
        >>> shortened("a" * 70 + "b" * 70)
        'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ... bbbbbbbbbbbbbbbbbbbbbbbbb'
    """
    return text if len(text) <= MOST_SHOWN else f"{text[:70]} ... {text[-25:]}"


def has_too_many_files(error: BaseException) -> bool:
    """Whether no further file can be opened, in the system's words, which libraries repeat in errors of any kind.

    Example:
        >>> has_too_many_files(ImportError("libm.so: cannot open shared object file: Too many open files"))
        True
    """
    return os.strerror(errno.EMFILE) in str(error)


def require_files(error: BaseException) -> None:
    """Raises EnvironmentFault where an error comes from too many open files, and not from the file that was opened."""
    if has_too_many_files(error):
        raise EnvironmentFault("too many files are open: raise `ulimit -n`, or lower data.workers") from error


def is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether memory was used up: for the host's, torch raises a RuntimeError, for a device's a subclass of it."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "could not create a memory")
    text = str(error)
    is_of_onednn = text == "could not create a primitive"  # its only message where it cannot allocate one
    return isinstance(error, MemoryError) or is_of_onednn or any(word in text for word in words)
