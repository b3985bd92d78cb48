"""Noise that is added to clean images: the image before it becomes the target.

Values stay float32 on the scale 0..255 and are neither clipped nor rounded, as in the benchmarks of denoising
(cszn/DnCNN): clipped noise is no longer Gaussian, and easier. What is drawn for a sample is a pure function of (seed,
epoch, index); in evaluation of (seed, index), so that every epoch and every network meets the same noise.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Generator, Tensor

from unpool.data.draws import Draws
from unpool.limits import PAIR, SHARE, check_number, check_range
from unpool.types import Batch, Sample, Transform

_TRAINING, _EVALUATION = 0xFFFFFFFE, 0xFFFFFFFD  # streams that no augmentation uses
LEVEL = Interval(ge=0, le=255)
PEAK = Interval(ge=0.001, le=1_000_000)
Deviation = Annotated[float, LEVEL] | Annotated[Sequence[Annotated[float, LEVEL]], PAIR]
Photons = Annotated[float, PEAK] | Annotated[Sequence[Annotated[float, PEAK]], PAIR]
Part = Annotated[float, SHARE] | Annotated[Sequence[Annotated[float, SHARE]], PAIR]


class Noise(ABC):
    """One kind of noise."""

    @abstractmethod
    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        """The image (C, H, W) float32 on 0..255 with its noise; all numbers are drawn from `generator`."""


class NoNoise(Noise):
    """The image itself, for an autoencoder that only has to give it back."""

    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        return clean


class Gaussian(Noise):
    """Adds a normal number to every value.

    Args:
        level: standard deviation on the scale 0..255, at most 255; or [low, high], drawn evenly for each image (blind
            denoising).
    """

    def __init__(self, *, level: Deviation) -> None:
        self._level = _range("gaussian.level", level, LEVEL)

    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        return clean + _drawn(self._level, generator) * torch.randn(clean.shape, generator=generator)


class Poisson(Noise):
    """Counts of photons: the noise grows with the root of the value.

    Args:
        peak: photons counted on average where the image is white, 0.001 to 1,000,000; or [low, high], drawn evenly for
            each image.
    """

    def __init__(self, *, peak: Photons) -> None:
        self._peak = _range("poisson.peak", peak, PEAK)

    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        scale = _drawn(self._peak, generator) / 255
        return torch.poisson(clean * scale, generator=generator) / scale


class SaltAndPepper(Noise):
    """Makes pixels white or black, each as likely, in all their channels.

    Args:
        share: of the pixels, 0 to 1; or [low, high], drawn evenly for each image.
    """

    def __init__(self, *, share: Part) -> None:
        self._share = _range("salt_and_pepper.share", share, SHARE)

    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        share = _drawn(self._share, generator)
        drawn = torch.rand(clean.shape[-2:], generator=generator)
        return clean.masked_fill(drawn < share, 0.0).masked_fill(drawn < share / 2, 255.0)


class Masking(Noise):
    """Makes pixels black, in all their channels (Vincent et al. 2008).

    Args:
        share: of the pixels, 0 to 1; or [low, high], drawn evenly for each image.
    """

    def __init__(self, *, share: Part) -> None:
        self._share = _range("masking.share", share, SHARE)

    def add(self, clean: Tensor, generator: Generator) -> Tensor:
        share = _drawn(self._share, generator)
        return clean.masked_fill(torch.rand(clean.shape[-2:], generator=generator) < share, 0.0)


NOISES: dict[str, type[Noise]] = {
    "none": NoNoise,
    "gaussian": Gaussian,
    "poisson": Poisson,
    "salt_and_pepper": SaltAndPepper,
    "masking": Masking,
}


class AddNoise:
    """Batches whose `image` has noise; `clean` is what it was before, uint8.

    Args:
        transform: makes the batches of clean images.
        noise: the kind.
        seed: of the noise.
        evaluates: the same noise in every epoch, and other noise than in any epoch of training.

    Attributes:
        gives: keys of a batch that it adds.
    """

    gives = ("clean",)

    def __init__(self, transform: Transform, noise: Noise, *, seed: int, evaluates: bool) -> None:
        self._transform = transform
        self._noise = noise
        self._seed = seed
        self._evaluates = evaluates

    def __call__(self, samples: list[Sample], epoch: int) -> Batch:
        batch = self._transform(samples, epoch)
        epoch, stream = (0, _EVALUATION) if self._evaluates else (epoch, _TRAINING)
        generators = Draws(self._seed, epoch, index=batch["index"], stream=stream).generators()
        clean = batch["image"]
        noisy = [self._noise.add(one.float(), generator) for one, generator in zip(clean, generators, strict=True)]
        even = len({one.shape for one in noisy}) == 1
        return batch | {"image": torch.stack(noisy) if even else noisy, "clean": clean}


def _range(name: str, level: float | Sequence[float], limits: Interval) -> tuple[float, float]:
    if isinstance(level, int | float):
        number = check_number(name, level, limits)
        return number, number
    return check_range(name, level, limits)


def _drawn(level: tuple[float, float], generator: Generator) -> float:
    low, high = level
    return low if low == high else low + (high - low) * float(torch.rand((), generator=generator))
