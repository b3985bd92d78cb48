"""Each sample several times an epoch: small windows of large images, as many of every image."""

from collections.abc import Sequence

import torch

from unpool.types import Sample, Samples


class Repeated:
    """Each sample `times` times under different `index`, so that each copy is augmented differently.

    Args:
        samples: the set; it stays as large in memory as it is.
        times: how often each stands in it.
    """

    def __init__(self, samples: Samples, times: int) -> None:
        self.gives = samples.gives
        self.info = samples.info
        self.names: Sequence[str] = [name for name in samples.names for _ in range(times)]
        self.sizes_hw: Sequence[tuple[int, int]] = [size for size in samples.sizes_hw for _ in range(times)]
        self.samples = samples
        self._times = times

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.names):
            raise IndexError(f"sample {index} of {len(self.names)}")
        return self.samples[index // self._times] | {"index": torch.tensor(index)}

    def targets(self, index: int) -> Sample:
        return self.samples.targets(index // self._times)
