"""Samples of which one that cannot be read is replaced by another, by a rule that is fixed before the first step."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from unpool.data.draws import Draws
from unpool.data.image_file import Unusable
from unpool.errors import require_files
from unpool.types import Sample, Samples

_STREAM = 0xFFFFFFFC  # of random numbers; no augmentation uses it
_TRIES = 100


class Replacing:
    """The same samples; `read` replaces one that cannot be read.

    By which is a function of seed, epoch and position alone, so that it is the same for every number of workers and in
    a resumed run. A file that was changed is never replaced: that is an error.

    Args:
        samples: the set.
        seed: of the run.
        groups: (n,) int64; a sample is replaced by one of its own group, such as of its size or class.
    """

    def __init__(self, samples: Samples, *, seed: int, groups: Tensor) -> None:
        self.gives = samples.gives
        self.info = samples.info
        self.names: Sequence[str] = samples.names
        self.sizes_hw = samples.sizes_hw
        self.samples = samples
        self._seed = seed
        self._groups = groups
        self._by_group = groups.argsort(stable=True)
        self._counts = groups.bincount()
        self._first = self._counts.cumsum(0) - self._counts

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def targets(self, index: int) -> Sample:
        return self.samples.targets(index)

    def read(self, index: int, epoch: int) -> Sample:
        """The sample, or the one that replaces it, whose `index` is its own.

        Raises:
            Unusable: neither can be read, nor can those tried after it.
        """
        try:
            return self.samples[index]
        except Unusable as error:
            require_files(error)
            for other in self._others(index, epoch):
                try:
                    return self.samples[other]
                except Unusable as failure:
                    require_files(failure)

            raise

    def _others(self, index: int, epoch: int) -> Iterator[int]:
        """Positions of the group, drawn one after another."""
        group = self._groups[index]
        first, count = int(self._first[group]), int(self._counts[group])
        draws = Draws(self._seed, epoch, index=torch.tensor([index]), stream=_STREAM)
        for _ in range(_TRIES if count > 1 else 0):
            other = int(self._by_group[first + int(draws.integer(0, count - 1))])
            if other != index:
                yield other
