"""Weights of the classes of a segmentation, from options of a recipe and counts over the training set."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from unpool.errors import RecipeError, quoted
from unpool.limits import Weights
from unpool.ops.losses import listed_weights, median_frequency
from unpool.types import IGNORE, Samples

ClassWeights = Literal["natural", "median", "sqrt_median"] | Weights | None


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
        mask = samples.targets(i)["mask"].flatten().long()
        counts = torch.bincount(mask[mask != IGNORE], minlength=num_classes)
        class_pixels += counts
        image_pixels[counts > 0] += counts.sum()
    return PixelCounts(class_pixels, image_pixels)


def choose_class_weights(chosen: ClassWeights, samples: Samples | None, *, num_classes: int) -> Tensor | None:
    """(classes,) float32, or None where all pixels weigh alike.

    Args:
        chosen: None or "natural" for no weights; "median" by median frequency and "sqrt_median" by its square root;
            or one number a class.
        samples: the training set, whose masks are counted where the weights depend on it.
        num_classes: names in the set.

    Raises:
        RecipeError: another word, or numbers that are no weights.
        ValueError: the weights depend on the training set and there is none.
    """
    if chosen is None or chosen == "natural":
        return None
    if not isinstance(chosen, str):
        return listed_weights(chosen, num_classes)
    if chosen not in ("median", "sqrt_median"):
        raise RecipeError(
            f"task.class_weights is {quoted(chosen)}; it must be natural, median, sqrt_median or {num_classes} numbers"
        )
    if samples is None:
        raise ValueError(f"class weights {quoted(chosen)} are counted in the training set: give samples=...")
    weights = median_frequency(*count_pixels(samples, num_classes))
    return weights if chosen == "median" else weights.sqrt()
