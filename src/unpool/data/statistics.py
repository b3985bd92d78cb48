"""Counts over a whole training set, read once before training."""

from typing import NamedTuple

import torch
from torch import Tensor

from unpool.types import IGNORE, Samples


class PixelCounts(NamedTuple):
    """How often each class stands in the masks of a set.

    Attributes:
        class_pixels: (classes,) int64 pixels of each class.
        image_pixels: (classes,) int64 labelled pixels of the images that hold the class.
    """

    class_pixels: Tensor
    image_pixels: Tensor


def count_pixels(samples: Samples, num_classes: int) -> PixelCounts:
    """Counts every mask of `samples`; unlabelled pixels are in neither number."""
    class_pixels = torch.zeros(num_classes, dtype=torch.int64)
    image_pixels = torch.zeros(num_classes, dtype=torch.int64)
    for i in range(len(samples)):
        mask = samples[i]["mask"].flatten().long()
        counts = torch.bincount(mask[mask != IGNORE], minlength=num_classes)
        class_pixels += counts
        image_pixels[counts > 0] += counts.sum()
    return PixelCounts(class_pixels, image_pixels)
