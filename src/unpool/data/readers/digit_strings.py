"""Strings of one to six handwritten digits on clutter, drawn by rule from MNIST's images.

Clutter are pieces of other digits, as in Mnih et al. 2014 (arXiv:1406.6247), a light that changes over the image, and
noise. Digits of `val` are the last sixth of MNIST's training images, which `train` does not use; those of `test` are
MNIST's test images.
"""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Interval
from numpy.random import Generator
from numpy.typing import NDArray

from unpool.data.generated import Generated
from unpool.data.measure import Measure
from unpool.data.readers.mnist import Mnist
from unpool.data.root import require_root
from unpool.errors import DataError, RecipeError
from unpool.limits import MANY, Seed
from unpool.types import GREY, DataInfo, Decoding, Sample

HEIGHT, DIGIT = 40, 28  # pixels
STEP = 22  # pixels from one digit to the next, on average: their ink is 20 wide at most
_VAL_PART = 6  # of MNIST's training images, one in so many
_SPLITS = {"train": (6, 20_000), "val": (7, 1000), "test": (8, 2000)}  # stream of random numbers, default size
_PIECE = 9  # pixels of a side of a piece of clutter


class DigitStrings(Generated):
    """Images of strings and their digits; sample i is a function of MNIST, (seed, split, i) and the options below.

    Args:
        root: of MNIST's files.
        split: "train", "val" or "test", which share no image of a digit.
        classes: names of the digits, as in a training run: "0" to "9".
        seed: of the strings.
        count: number of images, at most 1,000,000, by default 20,000 for training, 1000 for val, 2000 for test.
        most_digits: digits of a string, 1 to 12; each length from 1 on is as frequent.
        clutter: pieces of other digits for each digit that there is room for.
        decoding: with 1 channel, or with 3, for which the grey channel is repeated.
    """

    gives: tuple[str, ...] = ("image", "text")

    def __init__(  # noqa: PLR0913, options of recipes
        self,
        root: Path,
        split: Literal["train", "val", "test"],
        *,
        classes: tuple[str, ...] | None = None,
        seed: Seed = 0,
        count: Annotated[int, MANY] | None = None,
        most_digits: Annotated[int, Interval(ge=1, le=12)] = 6,
        clutter: Annotated[int, Interval(ge=0, le=20)] = 3,
        decoding: Decoding = GREY,
    ) -> None:
        super().__init__("strings of digits", split, _SPLITS, seed=seed, count=count, side=HEIGHT)
        if not (1 <= most_digits <= 12 and 0 <= clutter <= 20):
            raise RecipeError(f"data.most_digits is {most_digits} and clutter {clutter}; expected 1 to 12, and 0 to 20")
        mnist = Mnist(require_root(root), "test" if split == "test" else "train", classes=classes, decoding=decoding)
        self.info = DataInfo(classes=mnist.info.classes)
        self._channels = decoding.channels
        self._digits, self._labels = _part(mnist, split)
        self._most, self._clutter = most_digits, clutter
        self.root, self.set_files = mnist.root, mnist.set_files
        self.origin["root"] = mnist.origin["root"]

    def __getitem__(self, index: int) -> Sample:
        rng = self._random_of(index)
        picture, text = self._drawn(rng)
        image = torch.from_numpy(picture).expand(self._channels, -1, -1).clone()
        return {"image": image, "text": torch.from_numpy(text)}

    def measure(self, index: int) -> Measure:
        """Returns the size of an image, the same for all."""
        width = self._width
        return Measure((HEIGHT, width), self._channels * HEIGHT * width + 8 * self._most)

    @property
    def _width(self) -> int:
        return STEP * self._most + DIGIT

    def _drawn(self, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Returns the image (HEIGHT, width) and the digits from left to right."""
        width = self._width
        ink = _light(rng, width)
        for _ in range(self._clutter * self._most):
            self._add_piece(ink, rng)
        length = int(rng.integers(1, self._most + 1))
        chosen = rng.integers(len(self._digits), size=length)
        room = width - DIGIT - STEP * (length - 1)
        left = int(rng.integers(room + 1))
        for position, number in enumerate(chosen):
            column = left + position * STEP + int(rng.integers(-1, 2))
            row = int(rng.integers(HEIGHT - DIGIT + 1))
            column = min(max(column, 0), width - DIGIT)
            window = ink[row : row + DIGIT, column : column + DIGIT]
            np.maximum(window, self._digits[number] * rng.uniform(0.7, 1.0), out=window)
        ink += 12 * rng.standard_normal(ink.shape)
        return ink.round().clip(0, 255).astype(np.uint8), self._labels[chosen]

    def _add_piece(self, ink: NDArray[np.float64], rng: Generator) -> None:
        digit = self._digits[rng.integers(len(self._digits))]
        top, left = rng.integers(4, DIGIT - _PIECE - 4, 2)
        piece = digit[top : top + _PIECE, left : left + _PIECE] * rng.uniform(0.4, 0.9)
        row = int(rng.integers(ink.shape[0] - _PIECE + 1))
        column = int(rng.integers(ink.shape[1] - _PIECE + 1))
        window = ink[row : row + _PIECE, column : column + _PIECE]
        np.maximum(window, piece, out=window)


def _part(mnist: Mnist, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns MNIST's images (N, 28, 28) of a split, and their digits."""
    samples = range(len(mnist))
    if split != "test":
        held = len(mnist) - max(1, len(mnist) // _VAL_PART)
        samples = samples[held:] if split == "val" else samples[:held]
    if not samples:
        raise DataError(f"{mnist.origin['root']} has {len(mnist)} images of digits; expected two at least")
    images = np.stack([mnist[i]["image"][0].numpy() for i in samples])
    if images.shape[1:] != (DIGIT, DIGIT):
        raise DataError(f"{mnist.origin['root']} has images of {images.shape[1:]}; expected MNIST's, 28x28")
    return images, np.array([int(mnist.targets(i)["label"]) for i in samples])


def _light(rng: Generator, width: int) -> NDArray[np.float64]:
    """Returns (HEIGHT, width) a background from one dark grey at the left to another at the right."""
    first, second = rng.uniform(0, 70, 2)
    return np.tile(np.linspace(first, second, width), (HEIGHT, 1))
