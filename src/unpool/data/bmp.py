"""Pillow's parser of BMP, with the palette of a grey file kept where Pillow drops it and misreads the pixels.

Pillow takes a palette of greys for grey of 1 or 8 bits a pixel, whatever number of bits the file has.
"""

import struct
from typing import BinaryIO, cast

from PIL import BmpImagePlugin, ImagePalette

_FILE_HEAD, _SHORT_HEAD = 14, 12  # bytes; the short head is that of OS/2
_GREY = {1: "1", 8: "L"}  # Pillow's mode, by bits of a pixel, where it reads grey right
_INDEX = {1: "P;1", 4: "P;4", 8: "P"}


class StoredBmp(BmpImagePlugin.BmpImageFile):
    """A BMP whose pixels are as many bits as its header says."""

    def _open(self) -> None:
        super()._open()
        stream = cast(BinaryIO, self.fp)
        stream.seek(_FILE_HEAD)
        (size,) = struct.unpack("<I", stream.read(4))
        head = stream.read(size - 4)
        is_short = size == _SHORT_HEAD
        (bits,) = struct.unpack_from("<H", head, 6 if is_short else 10)
        if self.mode in ("1", "L") and self.mode != _GREY.get(bits):
            stated = 0 if is_short else struct.unpack_from("<I", head, 28)[0]
            width = 3 if is_short else 4
            self._mode = "P"
            self.palette = ImagePalette.raw("BGR" if is_short else "BGRX", stream.read(width * (stated or 1 << bits)))
            self.tile = [
                tile._replace(args=(_INDEX[bits], *cast(tuple[object, ...], tile.args)[1:])) for tile in self.tile
            ]
