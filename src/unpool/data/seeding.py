"""Random numbers that a data set of a caller's own draws, in a process that makes batches."""

import random

import numpy as np
import torch

from unpool.data.measure import MeasuringReader
from unpool.data.streamed import StreamedSamples
from unpool.types import Samples


def draws_itself(samples: Samples) -> bool:
    """Whether samples are read of a caller's own code, which may draw numbers."""
    while hasattr(samples, "samples"):
        samples = samples.samples  # type: ignore[attr-defined]
    return isinstance(samples, StreamedSamples) and not isinstance(samples.reader, MeasuringReader)


def seed_generators(seed: int, epoch: int, index: int) -> None:
    """Makes what torch, NumPy and `random` draw next a function of the arguments; for a process of its own only."""
    mixed = np.random.SeedSequence([seed, epoch, index]).generate_state(2)
    torch.manual_seed(int(mixed[0]) << 32 | int(mixed[1]))
    np.random.seed(mixed)  # noqa: NPY002, that which others draw from
    random.seed(int(mixed[0]) << 32 | int(mixed[1]))
