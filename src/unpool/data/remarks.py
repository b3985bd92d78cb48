"""What decoding finds odd in the pixels of a file, for whoever reads the file to count.

A header cannot say it, and the image is all that decoding returns. As `warnings.catch_warnings`, but of one thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Inside, the remarks on all that this thread decodes are added to the list; each sentence once.

    >>> with collected() as remarks:
    ...     remark("the last rows are missing")
    >>> remarks
    ['the last rows are missing']
    """
    remarks: list[str] = []
    token = _remarks.set(remarks)
    try:
        yield remarks
    finally:
        _remarks.reset(token)


def remark(sentence: str) -> None:
    """Adds a sentence to the list of the nearest `collected`; nothing happens outside of one."""
    remarks = _remarks.get()
    if remarks is not None and sentence not in remarks:
        remarks.append(sentence)
