import errno
import io

import pytest

from unpool.streams import Lasting, lasting


class Failing(io.StringIO):
    """A stream whose every write fails with one error while `error` is set."""

    def __init__(self, error: int) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str, /) -> int:
        if self.error:
            raise OSError(self.error, "no")
        return super().write(text)


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EAGAIN])
def test_log_that_cannot_be_written_is_dropped_and_goes_on_when_it_can(number):
    stream = Failing(number)
    log = Lasting(stream)
    assert log.write("lost\n") == 5
    stream.error = 0
    log.write("kept\n")
    log.flush()
    assert stream.getvalue() == "kept\n"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_result_whose_reader_has_gone_is_dropped(number):
    result = Lasting(Failing(number), raises=True)
    result.write("lost\n")
    result.flush()


def test_full_disk_under_a_result_is_raised_once():
    result = Lasting(Failing(errno.ENOSPC), raises=True)
    with pytest.raises(OSError, match="no"):
        result.write("lost\n")
    result.write("dropped\n")
    result.flush()


def test_lasting_stream_is_like_the_stream_itself():
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    stream = Lasting(text)
    print("é", file=stream, flush=True)
    assert text.buffer.getvalue() == b"\\xe9\n"
    assert (stream.encoding, stream.errors, stream.isatty()) == ("ascii", "backslashreplace", False)
    assert lasting(None) is None
