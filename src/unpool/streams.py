"""Text streams that outlast their reader: a closed terminal, a pipe without a reader or a full disk ends no run."""

import errno
import io
import sys
from collections.abc import Callable
from typing import TextIO, cast

READER_GONE = (errno.EPIPE, errno.EIO)  # a pipe that nobody reads, a terminal that was closed


class Lasting(io.TextIOBase):
    """Writes to a stream; what cannot be written is dropped.

    Args:
        stream: where to write, such as standard error.
        raises: raise the first error that is none of `READER_GONE`, such as that of a full disk, and drop the rest.
    """

    def __init__(self, stream: TextIO, *, raises: bool = False) -> None:
        self._stream = stream
        self._raises = raises
        self._is_lost = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, output: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            output()
        except OSError as error:
            self._is_lost = self._raises  # a log on a full disk goes on once there is space
            if self._raises and error.errno not in READER_GONE:
                raise


def lasting(stream: TextIO | None, *, raises: bool = False) -> TextIO | None:
    """The stream as one that outlasts its reader; None, for a stream that is closed, stays None."""
    return None if stream is None else cast(TextIO, Lasting(stream, raises=raises))


def write_message(text: str) -> None:
    """Writes a line to standard error, at once."""
    if sys.stderr is not None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
