"""Files of a .tar.gz read into memory: nothing is ever written to disk, and no member is trusted."""

import io
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unpool.data.image_file import printable
from unpool.data.listing import is_below
from unpool.errors import DataError

MOST_BYTES = 4 << 30
MOST_RATIO = 200
_PIECE = 1 << 20


class Archive(NamedTuple):
    """The regular files of an archive.

    Attributes:
        data: (bytes,) uint8, the unpacked archive; a tensor, so that worker processes share it.
        names: path of each file inside the archive, sorted.
        spans: (files, 2) int64 first byte and length of each file.
    """

    data: Tensor
    names: list[str]
    spans: Tensor

    def read(self, index: int) -> bytes:
        """The bytes of one file."""
        first, length = self.spans[index].tolist()
        return self.data[first : first + length].numpy().tobytes()


def read_archive(path: Path) -> Archive:
    """All regular files of a .tar.gz.

    Raises:
        DataError: the archive is damaged, larger than the limits, or holds a member that is no regular file or folder,
            leaves the archive's folder, or is there twice. The whole archive is refused then.
    """
    data = _unpack(path)
    files: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                _check(member, files, path)
                if member.isreg():
                    files[member.name] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise DataError(f"{printable(path)}: damaged archive: {error}") from error
    names = sorted(files)
    spans = torch.tensor([files[name] for name in names], dtype=torch.int64).reshape(-1, 2)
    if len(names) and int(spans.sum(dim=1).max()) > len(data):
        raise DataError(f"{printable(path)}: damaged archive: it ends inside of a file")
    return Archive(torch.from_numpy(np.frombuffer(data, np.uint8)), names, spans)


def _unpack(path: Path) -> bytearray:
    most = min(MOST_BYTES, max(path.stat().st_size, 1 << 20) * MOST_RATIO)
    unzip = zlib.decompressobj(wbits=31)
    data = bytearray()
    try:
        with path.open("rb") as stream:
            piece = stream.read(_PIECE)
            while piece:
                data += unzip.decompress(piece, 16 * _PIECE)
                if len(data) > most:
                    raise DataError(
                        f"{printable(path)}: unpacks to more than {most:,} bytes, the limit; unpack it yourself"
                    )
                piece = unzip.unconsumed_tail or unzip.unused_data or stream.read(_PIECE)
                if unzip.eof and piece:
                    unzip = zlib.decompressobj(wbits=31)  # gzip files may be joined end to end
    except (OSError, zlib.error) as error:
        raise DataError(f"{printable(path)}: damaged archive: {error}") from error
    if not unzip.eof:
        raise DataError(f"{printable(path)}: truncated archive: copy it again")
    return data


def _check(member: tarfile.TarInfo, files: dict[str, tuple[int, int]], path: Path) -> None:
    name = member.name
    if not is_below(name):
        raise DataError(f"{printable(path)}: member '{printable(name)}' leaves the archive's folder; archive refused")
    if not (member.isreg() or member.isdir()):
        raise DataError(f"{printable(path)}: member '{printable(name)}' is a link or a device; archive refused")
    if name in files:
        raise DataError(f"{printable(path)}: member '{printable(name)}' is there twice; archive refused")
