"""Samples with the regions that are proposed for each."""

from collections.abc import Sequence

from torch import Tensor

from unpool.types import Sample, Samples


class Proposed:
    """The samples of a set, each with `proposals`.

    Args:
        samples: the set.
        proposals: (N, 4) of each.
    """

    def __init__(self, samples: Samples, proposals: Sequence[Tensor]) -> None:
        self.gives = (*samples.gives, "proposals")
        self.info = samples.info
        self.names = samples.names
        self.sizes_hw = samples.sizes_hw
        self.samples = samples
        self._proposals = proposals

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return {**self.samples[index], "proposals": self._proposals[index]}

    def targets(self, index: int) -> Sample:
        return self.samples.targets(index)
