"""Pillow's parser of JPEG, which remarks on scans that hold fewer or more data than their pixels need.

libjpeg fills what is missing with grey, skips what is too much, and Pillow hides its warnings. Both show in how the
decoder takes its input, since it suspends where bytes are missing:

- Where a segment (a scan, or its part between two restart markers) has decoded all its blocks, the decoder takes single
  bytes, on its way to the next marker. Before that it takes what fills its register of 64 bits, or nothing. So bytes
  before the end of a segment that are taken one by one are too many.
- Bits of 1, which are no code of any table, are put behind each segment. A segment with all its data is done with them,
  skips them and takes single bytes; one that lacks more blocks than they stand for is not.

- A restart marker more is put behind the last segment of a scan that has them: where further segments are missing, the
  decoder takes it and waits for their data.

Where something is wrong, or no end follows the last scan, the file is decoded once more as Pillow does it. What stays
unseen: damage after which the number of blocks is right again, and up to eight bytes too many or about two blocks too
few at the end of a segment (these blocks are then what the ones stand for, where Pillow has grey).
Source: ITU-T T.81, Annex B (markers) and F.2.2 (Huffman decoding); libjpeg-turbo, jdhuff.c and jdmarker.c.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from PIL import Image, JpegImagePlugin

from unpool.data.remarks import remark

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_ONE = b"\xff\0"  # a byte of ones, as it stands in a scan
_ONES = 9 * _ONE  # fill the decoder's register
_SINGLE = 2  # bytes; a register that is filled takes several at once
_SPARSE = 1 << 12  # bytes between two restart markers before which this is looked at: each look takes as long as 1 KB
_START_OF_SCAN, _END, _INTERVAL = 0xDA, 0xD9, 0xDD
_RESTARTS = range(0xD0, 0xD8)

MISSING = "JPEG data end before the image does, what is missing is filled with grey: restore the file"
TOO_MUCH = "JPEG data are damaged, a scan holds more than its pixels need: restore the file"
OUT_OF_ORDER = "JPEG restart markers are out of order, parts of the image are missing: restore the file"


class StoredJpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG that remarks on its damage when it is loaded."""

    def load(self) -> Any:
        """As Pillow's, with the same errors, and the same pixels but for what stays unseen."""
        if self.tile and self.fp is not None:
            self.fp.seek(0)
            data = self.fp.read()
            self.load_prepare()
            if problem := _problem(_Suspended(self, data)):
                remark(problem)
            elif problem is not None:
                self.tile = []
        return super().load()


class _Segment(NamedTuple):
    """Entropy-coded data from `start` to `stop`.

    Attributes:
        is_out_of_order: the restart marker before them has the wrong number.
        restart: the marker that would come next; empty where one does, or where the scan has none.
    """

    start: int
    stop: int
    is_out_of_order: bool
    restart: bytes


class _Suspended:
    """Pillow's decoder, given a file part by part."""

    def __init__(self, image: StoredJpeg, data: bytes) -> None:
        name, extents, _, args = image.tile[0]
        self.data, self.error = data, 0
        self.is_done = self.is_waiting = False
        self.position, self._rest = 0, b""
        self._decoder = Image._getdecoder(image.mode, name, args, image.decoderconfig)
        self._decoder.setimage(cast(Any, image).im, extents)

    def feed(self, data: bytes) -> None:
        """Decodes more bytes; `is_waiting` afterwards says that some were not taken."""
        if self.is_done:
            return
        data = self._rest + data
        count, self.error = self._decoder.decode(data)
        self._rest = data[max(count, 0) :]
        self.is_done, self.is_waiting = count < 0, count >= 0 and bool(self._rest)

    def feed_to(self, stop: int, behind: bytes = b"") -> None:
        """Decodes the file up to that byte, and then `behind`."""
        self.feed(self.data[self.position : stop] + behind)
        self.position = stop

    def takes_single(self, behind: bytes = b"") -> bool:
        """Whether each of a few single bytes is taken at once, or none is needed: the next of the file, or `behind`."""
        for _ in range(_SINGLE):
            if self.is_waiting or self.is_done:
                break
            self.feed_to(self.position + (not behind), behind)
        return not self.is_waiting


def _problem(decoder: _Suspended) -> str | None:
    """What is wrong with a file; empty where it is decoded, None where Pillow shall say what is wrong."""
    for segment in _segments(decoder.data):
        if segment.is_out_of_order:
            return OUT_OF_ORDER
        if segment.stop - segment.start > _SINGLE:
            decoder.feed_to(segment.stop - _SINGLE - 1)
            if decoder.takes_single():
                return None if decoder.error else TOO_MUCH
        decoder.feed_to(segment.stop, _ONES)
        if decoder.takes_single(_ONE) and segment.restart:
            decoder.feed(segment.restart + _ONES)
        if not decoder.takes_single(_ONE):
            return MISSING
        if decoder.error:
            return None
    is_ended = not decoder.is_done or decoder.data[decoder.position + 1 : decoder.position + 2] == bytes([_END])
    decoder.feed_to(len(decoder.data))
    return "" if decoder.is_done and is_ended and not decoder.error else None


def _segments(data: bytes) -> Iterator[_Segment]:
    """The entropy-coded segments of a file, in order, as far as its markers can be followed; of short ones a few."""
    position, expected, looked_at, has_restarts = 2, 0, 0, False
    while position + 3 < len(data) and data[position] == 0xFF and data[position + 1] != _END:
        code = data[position + 1]
        if code == 0xFF:
            position += 1
            continue
        is_restart = code in _RESTARTS
        if code == _INTERVAL:
            has_restarts = data[position + 4 : position + 6] != b"\0\0"
        position += 2 if is_restart else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if code == _START_OF_SCAN or is_restart:
            marker = _MARKER.search(data, position)
            stop = marker.start() if marker else len(data)
            is_out_of_order = is_restart and code - _RESTARTS.start != expected
            expected = (expected + 1) % len(_RESTARTS) if is_restart else 0
            is_last = data[stop + 1 : stop + 2] == b"" or data[stop + 1] not in _RESTARTS
            if is_last or is_out_of_order or stop - looked_at > _SPARSE:
                looked_at = stop
                restart = bytes([0xFF, _RESTARTS[expected]]) if is_last and has_restarts else b""
                yield _Segment(position, stop, is_out_of_order, restart)
            position = stop
