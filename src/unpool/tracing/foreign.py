"""Runs code of others, which may raise anything: the one file in which `except Exception` is allowed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def first_line(error: BaseException) -> str:
    """First line of an error's message that is not blank; the name of its type where it has none.

    >>> first_line(ValueError("bad size\\nand more")), first_line(AssertionError("\\n"))
    ('bad size', 'AssertionError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Failure:
    """The error that ended a block of `foreign_code`; false where there was none.

    Attributes:
        error: None where the block ran to its end.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __bool__(self) -> bool:
        return self.error is not None

    def __str__(self) -> str:
        """`first_line` of the error; empty where there was none."""
        return first_line(self.error) if self.error is not None else ""


@contextmanager
def foreign_code(*, passing: type[Exception] | None = None) -> Iterator[Failure]:
    """Ends the block at its first error and keeps the error; put calls of a user's modules inside, and little else.

    Args:
        passing: errors of this type are raised as usual.

    >>> with foreign_code() as failure:
    ...     1 / 0
    >>> print(failure)
    division by zero
    """
    failure = Failure()
    try:
        yield failure
    except Exception as error:
        if passing is not None and isinstance(error, passing):
            raise
        failure.error = error


@contextmanager
def isolated() -> Iterator[None]:
    """Restores the random state afterwards, and records no gradients inside."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.inference_mode(mode=False), torch.no_grad(), torch.random.fork_rng(devices):
        yield
