"""Mean and deviation of each channel, counted in the training images."""

import logging
from dataclasses import replace

import numpy as np
import torch

from unpool.data.image_file import Unusable
from unpool.ops.preprocessing import Preprocessing
from unpool.types import Samples

MOST_IMAGES = 1000
_LEAST_STD = 1 / 255
_log = logging.getLogger(__name__)


def with_statistics(preprocessing: Preprocessing, samples: Samples) -> Preprocessing:
    """The preprocessing with mean and standard deviation of each channel over the pixels of training images.

    At most 1,000 images, evenly spread, are read. The log says what was found.
    """
    positions = np.linspace(0, len(samples) - 1, min(len(samples), MOST_IMAGES)).round().astype(int).tolist()
    count, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for index in positions:
        try:
            image = samples[index]["image"].flatten(1).double() / 255
        except Unusable:
            continue  # one that training replaces; where it does not, the scan has left it out
        count, total, squares = count + image.shape[1], total + image.sum(1), squares + image.square().sum(1)
    low, high = preprocessing.value_range
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
