"""Decoded samples held in memory as a few flat tensors, which worker processes share instead of copying."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unpool.errors import EnvironmentFault
from unpool.types import DataInfo, Sample

CHUNK_BYTES = 256 << 20
MOST_BYTES = 4_000_000_000
SHARED = Path("/dev/shm")


class Column:
    """One key of all samples, whatever their shapes: `column[i]` is a view, which nobody may write into."""

    def __init__(self, chunks: Sequence[Tensor], starts: Tensor, shapes: Tensor) -> None:
        self._chunks = tuple(chunks)  # flat
        self._starts = starts  # (N, 2) chunk and first element
        self._shapes = shapes  # (N, axes)
        is_uniform = len(chunks) == 1 and bool((shapes == shapes[0]).all())
        self._stack = chunks[0].view(len(shapes), *shapes[0].tolist()) if is_uniform else None

    def __getitem__(self, index: int) -> Tensor:
        if self._stack is not None:
            return self._stack[index]
        chunk, first = self._starts[index].tolist()
        shape = self._shapes[index].tolist()
        return self._chunks[chunk][first : first + math.prod(shape)].view(shape)


class ColumnWriter:
    """Takes the values of one key in order; at no time is more than one chunk held twice."""

    def __init__(self, *, is_shared: bool) -> None:
        self._is_shared = is_shared
        self._chunks: list[Tensor] = []
        self._waiting: list[Tensor] = []
        self._waiting_bytes = 0
        self._first = 0
        self._starts: list[tuple[int, int]] = []
        self._shapes: list[tuple[int, ...]] = []

    def append(self, value: Tensor) -> None:
        """Adds the value of the next sample."""
        self._starts.append((len(self._chunks), self._first))
        self._shapes.append(tuple(value.shape))
        self._waiting.append(value.reshape(-1))
        self._first += value.numel()
        self._waiting_bytes += value.nbytes
        if self._waiting_bytes >= CHUNK_BYTES:
            self._flush()

    def column(self) -> Column:
        """The column of all values appended so far."""
        if self._waiting:
            self._flush()
        shapes = torch.tensor(self._shapes, dtype=torch.int64).reshape(len(self._shapes), -1)
        return Column(self._chunks, self._stored(torch.tensor(self._starts)), self._stored(shapes))

    def _flush(self) -> None:
        chunk = self._stored(torch.empty(self._first, dtype=self._waiting[0].dtype))
        # numpy copies on this thread; torch.cat would wake a team that other processes may hold up
        np.concatenate([value.numpy() for value in self._waiting], out=chunk.numpy())
        self._chunks.append(chunk)
        self._waiting, self._waiting_bytes, self._first = [], 0, 0

    def _stored(self, tensor: Tensor) -> Tensor:
        return share(tensor) if self._is_shared else tensor


class MemorySamples:
    """Samples decoded once; the tensors returned are views of the store, for reading only."""

    def __init__(
        self,
        columns: dict[str, Column],
        *,
        names: Sequence[str],
        sizes_hw: Sequence[tuple[int, int]],
        info: DataInfo,
    ) -> None:
        self.gives = tuple(columns)
        self.info = info
        self.names = names
        self.sizes_hw = sizes_hw
        self._columns = columns
        self._sizes = torch.tensor(sizes_hw, dtype=torch.int64).reshape(-1, 2)
        self._indices = torch.arange(len(names))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        sample = {key: column[index] for key, column in self._columns.items()}
        return {**sample, "index": self._indices[index], "size_hw": self._sizes[index]}

    def targets(self, index: int) -> Sample:
        return {key: column[index] for key, column in self._columns.items() if key != "image"}


def share(tensor: Tensor) -> Tensor:
    """The tensor in shared memory.

    Raises:
        EnvironmentFault: there is not enough of it; writing all the same would kill the process.
    """
    if SHARED.is_dir():
        free = shutil.disk_usage(SHARED).free
        if tensor.nbytes > free:
            needed = f"the data needs {tensor.nbytes / 2**20:.0f} MiB more"
            raise EnvironmentFault(
                f"shared memory ({SHARED}) has {free / 2**20:.0f} MiB free and {needed}: set data.workers=0 or "
                "data.memory=false, or enlarge it (docker run --shm-size=8g)"
            )
    return tensor.share_memory_()
