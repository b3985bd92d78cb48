"""Counts over a whole training set, read once before training."""

from typing import NamedTuple

import torch
from torch import Tensor

from unpool.errors import RecipeError
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


def read_labels(samples: Samples) -> Tensor:
    """(n,) int64 label of each sample.

    Raises:
        RecipeError: the set has no labels.
    """
    if "label" not in samples.gives:
        raise RecipeError(
            f"this data.order goes by the label of each image, and the set gives {', '.join(samples.gives)} only: "
            "choose data.order shuffled or grouped"
        )
    return torch.tensor([int(samples.targets(i)["label"]) for i in range(len(samples))], dtype=torch.int64)
