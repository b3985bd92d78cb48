"""Mean and deviation of each channel or location, and the axes of colours, counted in the training images."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unpool.data.augment.pair_targets import PAIRS
from unpool.data.augment.pca_color import TRAINING
from unpool.data.image_file import Unusable
from unpool.ops.mean_image import pack
from unpool.ops.preprocessing import Preprocessing
from unpool.recipe import Recipe, load_recipe
from unpool.types import Samples

MOST_IMAGES = 1000
_LEAST_STD = 1 / 255
_log = logging.getLogger(__name__)


def with_statistics(preprocessing: Preprocessing, samples: Samples) -> Preprocessing:
    """The preprocessing with mean and standard deviation of each channel over the pixels of training images.

    At most 1,000 images, evenly spread, are read. The log says what was found.
    """
    positions = _spread(samples)
    count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for image in _pixels(samples, positions):
        count, total, squares = count + image.shape[1], total + image.sum(1), squares + image.square().sum(1)
    low, high = preprocessing.value_range
    if preprocessing.order == "bgr":
        total, squares = total.flip(0), squares.flip(0)
    mean = total / count
    std = (squares / count - mean.square()).clamp_min(0).sqrt().clamp_min(_LEAST_STD)
    means = tuple(round(low + value * (high - low), 4) for value in mean.tolist())
    stds = tuple(round(value * (high - low), 4) for value in std.tolist())
    _log.info(
        "data.mean and data.std of %d channels, counted in %d training images: %s and %s",
        len(means),
        len(positions),
        list(means),
        list(stds),
    )
    return replace(preprocessing, mean=means, std=stds)


def with_mean_image(
    preprocessing: Preprocessing, samples: Samples, *, progress: Callable[[int, int], None] | None = None
) -> Preprocessing:
    """The preprocessing with the mean of all training images, at the size of the network's input, by location.

    `progress` is called with (images done, images in all), before each.
    """
    plain = replace(preprocessing, mean=(0.0,) * preprocessing.channels, std=(1.0,) * preprocessing.channels)
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for index in range(len(samples)):
        if progress is not None:
            progress(index, len(samples))
        try:
            image = samples[index]["image"]
        except Unusable:
            continue
        count, total = count + 1, total + plain.normalize(plain.resize(image)).double()
    height, width = preprocessing.size_hw or (0, 0)
    packed = pack((total / count)[:, :height, :width].float())  # without the padding to a multiple
    _log.info("the mean image was counted in %d training images", count)
    return replace(preprocessing, normalization="location", mean_image=packed)


def with_colour_axes(recipe: Recipe, samples: Samples) -> Recipe:
    """The recipe with numbers in place of `axes: training` of `pca_color`: variance and direction of colours.

    Each axis is an eigenvector of the covariance of channels over all pixels, values on 0..1, times its eigenvalue, the
    largest first. At most 1,000 training images, evenly spread, are read; the log says what was found.
    """
    if not any(options.get("axes") == TRAINING for name, options in recipe.data.steps if name == "pca_color"):
        return recipe
    axes = _axes(samples)
    _log.info("data.augment: pca_color.axes, counted in the training images: %s", axes)
    steps = [
        {name: {**options, "axes": axes} if name == "pca_color" and options.get("axes") == TRAINING else options}
        for name, options in recipe.data.steps
    ]
    return load_recipe(recipe, {"data.augment": steps})


def _axes(samples: Samples) -> list[list[float]]:
    count, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    is_pair = any(key in samples.gives for key in PAIRS)
    for pixels in _pixels(samples, _spread(samples)):
        image = torch.cat(pixels.chunk(2), dim=1) if is_pair else pixels  # of pairs the colours of both images
        count, total, products = count + image.shape[1], total + image.sum(1), products + image @ image.T
    mean = total / count
    values, vectors = torch.linalg.eigh(products / count - mean.outer(mean))  # (C,) rising, (C, C) columns
    axes = (vectors * values.clamp_min(0)).T.flip(0)
    sign = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # of an axis either would do: one for all machines
    return [[round(value, 6) for value in axis] for axis in (axes * sign).tolist()]


def _spread(samples: Samples) -> list[int]:
    return np.linspace(0, len(samples) - 1, min(len(samples), MOST_IMAGES)).round().astype(int).tolist()


def _pixels(samples: Samples, positions: Sequence[int]) -> Iterator[Tensor]:
    """(C, H*W) float64 on 0..1 of each image that can be read."""
    for index in positions:
        try:
            yield samples[index]["image"].flatten(1).double() / 255
        except Unusable:
            continue  # one that training replaces; where it does not, the scan has left it out
