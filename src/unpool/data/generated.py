"""What readers of generated images share: no files, one size, and sample i a function of (seed, split, i)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from unpool.errors import DataError
from unpool.types import Fault, Sample

LEAST_SIDE = 32  # pixels


class Generated(ABC):
    """A base for readers of generated images, which make a sample in `__getitem__`.

    Args:
        what: name of the images, for messages.
        split: one of `splits`.
        splits: by name the stream of random numbers, and the number of images where `count` is None.
        seed: of the images.
        count: number of images.
        side: height and width in pixels.

    Raises:
        DataError: there is no such split, or the side or the number is too small.
    """

    def __init__(
        self,
        what: str,
        split: str,
        splits: Mapping[str, tuple[int, int]],
        *,
        seed: int,
        count: int | None,
        side: int,
    ) -> None:
        if split not in splits:
            raise DataError(f"{what} have no split '{split}'; expected one of {', '.join(splits)}")
        if side < LEAST_SIDE or (count is not None and count < 1):
            raise DataError(
                f"{what} of side {side} and number {count}; expected a side of at least {LEAST_SIDE} and at least 1"
            )
        self._what, self._seed, self._side = what, seed, side
        self._stream, usual = splits[split]
        self._count = usual if count is None else count
        self.names: Sequence[str] = [f"{split}/{i:05d}" for i in range(self._count)]
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.root, self.set_files = None, ()
        self.origin: dict[str, Any] = {"root": None, "split": split, "seed": seed, "ignored": 0, "drawn": None}

    def __len__(self) -> int:
        return self._count

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    def files(self, index: int) -> tuple[Path, ...]:
        """Returns the files of one sample: none."""
        return ()

    def targets(self, index: int) -> Sample:
        """Returns the targets of a sample, without its image."""
        return {key: value for key, value in self[index].items() if key != "image"}

    def _random_of(self, index: int) -> Generator:
        """The source of the random numbers of one sample."""
        if not 0 <= index < self._count:
            raise IndexError(f"image {index} of {self._count} {self._what}")
        key = np.array([self._seed & 0xFFFFFFFFFFFFFFFF, self._stream], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))
