"""Random numbers that are a pure function of (seed, epoch, sample), whoever draws them and in whatever order.

Philox 4x32-10 on arrays of counters, so that one call serves a whole batch. Ours rather than `numpy.random.Philox`,
which costs a generator for every sample and whose streams of permutations may change between versions.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; checked against its known answers.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], dtype=np.uint64)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_WORDS = 16  # drawn for each sample at a time: one pass over 16 words costs what one over 4 does


def philox(counter: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Four independent 32-bit words for each counter.

    Args:
        counter: (4, n) words below 2**32.
        key: any integer; its low 64 bits count.

    Returns:
        (4, n) words below 2**32, in uint64.
    """
    key_low, key_high = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    even, odd = counter[0::2], counter[1::2]
    for _ in range(10):
        product = even * _MULTIPLIERS
        high, low = product >> _HALF, product & _LOW
        keys = np.array([[key_low], [key_high]], dtype=np.uint64)
        even, odd = high[::-1] ^ odd ^ keys, low[::-1]
        key_low, key_high = key_low + _WEYL[0] & 0xFFFFFFFF, key_high + _WEYL[1] & 0xFFFFFFFF
    return np.stack((even[0], odd[0], even[1], odd[1]))


def permutation(seed: int, epoch: int, n: int, *, stream: int = 0) -> Tensor:
    """(n,) int64: the numbers 0 to n - 1 in an order that depends on nothing but the arguments.

    Args:
        seed: of the run.
        epoch: from 0.
        n: how many numbers.
        stream: below 2**32; one for each use, so that no two share their random numbers.
    """
    return torch.from_numpy(np.argsort(_words_of_epoch(seed, epoch, n, stream=stream), kind="stable"))


def uniform(seed: int, epoch: int, n: int, *, stream: int) -> Tensor:
    """(n,) float64 in [0, 1), of 53 random bits; a pure function of the arguments, which are those of `permutation`."""
    return torch.from_numpy((_words_of_epoch(seed, epoch, n, stream=stream) >> np.uint64(11)) * 2.0**-53)


def _words_of_epoch(seed: int, epoch: int, n: int, *, stream: int) -> NDArray[np.uint64]:
    """(n,) random words of 64 bits from counters that no augmentation uses."""
    counter = np.zeros((4, n), dtype=np.uint64)
    counter[0] = np.arange(n)
    counter[1] = stream & 0xFFFFFFFF
    counter[2] = epoch & 0xFFFFFFFF
    counter[3] = 0xFFFFFFFF
    words = philox(counter, seed)
    return words[0] << _HALF | words[1]


class Draws:
    """Random numbers for the samples of one batch; each call of a method draws new ones.

    Args:
        seed: of the run.
        epoch: from 0.
        index: (B,) int64 position of each sample in its set.
        stream: one for each augmentation in the list, so that what one draws does not shift the others.
    """

    def __init__(self, seed: int, epoch: int, *, index: Tensor, stream: int = 0) -> None:
        self._key = seed
        self._counter = np.zeros((4, len(index), _WORDS // 4), dtype=np.uint64)
        self._counter[0] = np.arange(_WORDS // 4)
        self._counter[1] = index.numpy().astype(np.uint64)[:, None] & _LOW
        self._counter[2] = epoch & 0xFFFFFFFF
        self._counter[3] = stream
        self._words = np.empty((0, len(index)), dtype=np.uint64)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B,) float64 in [low, high)."""
        if not len(self._words):
            batch = self._counter.shape[1]
            words = philox(self._counter.reshape(4, -1), self._key)
            self._words = words.reshape(4, batch, -1).transpose(0, 2, 1).reshape(_WORDS, batch)
            self._counter[0] += np.uint64(_WORDS // 4)
        row, self._words = self._words[0], self._words[1:]
        return torch.from_numpy(low + (high - low) * (row * 2.0**-32))

    def generators(self) -> list[torch.Generator]:
        """One of torch's generators a sample, for whole fields of numbers.

        Their seeds are drawn here; their numbers are the same on one version of torch only.
        """
        return [torch.Generator().manual_seed(int(seed)) for seed in self.integer(0, 2**32 - 1).tolist()]

    def normal(self) -> Tensor:
        """(B,) float64 of zero mean and unit deviation."""
        radius = (-2 * torch.log1p(-self.uniform())).sqrt()
        return radius * torch.cos(2 * torch.pi * self.uniform())

    def beta(self, alpha: float) -> Tensor:
        """(B,) float64 from Beta(alpha, alpha): two numbers of each sample are used up, whatever is returned.

        Source: Devroye 1996, "Random variate generation in one line of code", for symmetric beta variates.
        """
        spread = (1 - self.uniform()).pow(-1 / alpha) - 1  # infinite for a small alpha, whose numbers are then 0 or 1
        side = torch.cos(2 * torch.pi * self.uniform())
        return (1 + side / (1 / spread + side.square()).sqrt()) / 2

    def coin(self, p: float) -> Tensor:
        """(B,) bool, true with probability `p`."""
        return self.uniform() < p

    def integer(self, low: Tensor | int, high: Tensor | int) -> Tensor:
        """(B,) float64 whole numbers in [low, high], both included."""
        return low + torch.floor(self.uniform() * (high - low + 1))
