"""Losses as sums and counts, class weights, and the check of targets."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.types import IGNORE, Term

# a count of zero would make sum / count NaN in a batch without a labelled pixel; added to any other count this is
# lost in rounding
LEAST_COUNT = 1e-12


def pixel_cross_entropy(logits: Tensor, mask: Tensor, class_weights: Tensor | None = None) -> Term:
    """Returns the cross-entropy over labelled pixels; the count is the sum of their class weights.

    Args:
        logits: (B, N, H, W) float.
        mask: (B, H, W) int64 class or IGNORE.
        class_weights: (N,) float32; None weights every pixel by 1.

    Returns:
        Sum and count in float32. If every pixel is IGNORE, sum / count and its gradient are 0.

    Example:
        >>> logits, mask = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, IGNORE]]])
        >>> pixel_cross_entropy(logits, mask)  # twice log 2, over two labelled pixels
        Term(sum=tensor(1.3863), count=tensor(2.), weight=1.0)
    """
    logits = logits.float()
    total = nn.functional.cross_entropy(logits, mask, class_weights, ignore_index=IGNORE, reduction="sum")
    count = (mask != IGNORE).sum().float() if class_weights is None else _weights_of(mask, class_weights).sum()
    return Term(total, count.clamp_min(LEAST_COUNT))


def _weights_of(mask: Tensor, class_weights: Tensor) -> Tensor:
    """The weight of each pixel, 0 where it is IGNORE."""
    by_value = class_weights.new_zeros(IGNORE + 1)
    by_value[: len(class_weights)] = class_weights
    return by_value[mask]


def pixel_focal(logits: Tensor, mask: Tensor, class_weights: Tensor | None = None, *, gamma: float = 2.0) -> Term:
    """Returns the focal loss over labelled pixels; the count is the sum of their class weights.

    Each pixel's cross-entropy is multiplied by (1 - p)^gamma, with p the probability of its class, so that what is
    right already hardly counts.

    Args:
        logits: (B, N, H, W) float; their softmax over N is taken here.
        mask: (B, H, W) int64 class or IGNORE.
        class_weights: (N,) float32; None weights every pixel by 1.
        gamma: 0 gives cross-entropy.

    Source: Lin et al. 2017, arXiv:1708.02002, equations 4 and 5, for classes that exclude one another.

    Example:
        >>> logits, mask = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, IGNORE]]])
        >>> pixel_focal(logits, mask)  # a quarter of the cross-entropy where p is 1/2
        Term(sum=tensor(0.3466), count=tensor(2.), weight=1.0)
    """
    is_labelled = mask != IGNORE
    each = _focal(logits, mask.where(is_labelled, 0), gamma)
    weights = is_labelled.float() if class_weights is None else _weights_of(mask, class_weights)
    return Term((each * weights).sum(), weights.sum().clamp_min(LEAST_COUNT))


def label_focal(logits: Tensor, label: Tensor, *, gamma: float = 2.0, shares: Tensor | None = None) -> Term:
    """Returns the focal loss over images, see `pixel_focal`; the count is the number of images.

    Args:
        logits: (B, N) float; their softmax over N is taken here.
        label: (B,) int64.
        gamma: 0 gives cross-entropy.
        shares: as in `label_cross_entropy`.

    Example:
        >>> label_focal(torch.zeros(2, 2), torch.tensor([0, 1]))
        Term(sum=tensor(0.3466), count=tensor(2.), weight=1.0)
    """
    each = _focal(logits, label, gamma)
    return _over_images(each if shares is None else each * shares)


def _focal(logits: Tensor, label: Tensor, gamma: float) -> Tensor:
    """The loss of each label (B, ...) by logits (B, N, ...)."""
    logs = -nn.functional.cross_entropy(logits.float(), label, reduction="none")
    # a power below 1 has no gradient at 0
    return -((1 - logs.exp()).clamp_min(1e-6) ** gamma) * logs


def label_binary_cross_entropy(
    logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0, shares: Tensor | None = None
) -> Term:
    """Returns the binary cross-entropies of all classes, added up, over images; the count is the number of images.

    Each class is a question of its own, whether it is the image's, so that the probabilities need not add up to 1.

    Args:
        logits: (B, N) float; their sigmoid is taken here.
        label: (B,) int64.
        label_smoothing: share of the target spread evenly over all N classes.
        shares: as in `label_cross_entropy`.

    Source: Wightman et al. 2021, arXiv:2110.00476, section 3, for one-hot targets.

    Example:
        >>> label_binary_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))  # eight times log 2
        Term(sum=tensor(5.5452), count=tensor(2.), weight=1.0)
    """
    classes = logits.shape[1]
    target = nn.functional.one_hot(label, classes).float() * (1 - label_smoothing) + label_smoothing / classes
    each = nn.functional.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").sum(1)
    return _over_images(each if shares is None else each * shares)


def label_cross_entropy(
    logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0, shares: Tensor | None = None
) -> Term:
    """Returns the cross-entropy over images; the count is the number of images.

    Args:
        logits: (B, N) float.
        label: (B,) int64.
        label_smoothing: share of the target spread evenly over all N classes.
        shares: (B,) of each image's loss that counts, where a mixed image has two labels; None counts all of it.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7; Zhang et al. 2018, arXiv:1710.09412, section 2.

    Example:
        >>> label_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))  # twice log 4
        Term(sum=tensor(2.7726), count=tensor(2.), weight=1.0)
    """
    if shares is None:
        total = nn.functional.cross_entropy(logits.float(), label, reduction="sum", label_smoothing=label_smoothing)
        return Term(total, torch.tensor(float(len(label)), device=label.device))
    each = nn.functional.cross_entropy(logits.float(), label, reduction="none", label_smoothing=label_smoothing)
    return _over_images(each * shares)


def _over_images(each: Tensor) -> Term:
    return Term(each.sum(), torch.tensor(float(len(each)), device=each.device))


def median_frequency(class_pixels: Tensor, image_pixels: Tensor) -> Tensor:
    """Computes the median-frequency weight of each class.

    The frequency of a class is its number of pixels divided by the labelled pixels of the images that contain it; its
    weight is the median frequency divided by its frequency. A class without a pixel is left out of the median and has
    weight 1.

    Args:
        class_pixels: (N,) pixels of each class in the training set.
        image_pixels: (N,) labelled pixels of the images that contain the class.

    Returns:
        (N,) float32, finite and positive.

    Raises:
        DataError: there is no labelled pixel.

    Source: Eigen and Fergus 2015, arXiv:1411.4734, section 6.3.2, as used by SegNet, arXiv:1511.00561, section 4.1.

    Example:
        >>> median_frequency(torch.tensor([80, 20, 0]), torch.tensor([100, 100, 0]))
        tensor([0.6250, 2.5000, 1.0000])
    """
    seen = class_pixels > 0
    if not seen.any():
        raise DataError("no labelled pixel in the training set: class weights need at least one mask that has classes")
    frequency = class_pixels.double() / image_pixels  # NaN where a class is not seen
    weights = torch.ones_like(frequency)
    weights[seen] = frequency[seen].quantile(0.5) / frequency[seen]
    return weights.float()


def listed_weights(weights: Sequence[float], num_classes: int) -> Tensor:
    """Checks a user's list of class weights and returns it as a tensor (N,) float32.

    Raises:
        RecipeError: there is not one weight per class, one is negative or not finite, or all are 0.

    Example:
        >>> listed_weights([1, 0.5], 2)
        tensor([1.0000, 0.5000])
    """
    values = torch.tensor([float(weight) for weight in weights])
    if len(values) != num_classes:
        raise RecipeError(f"{len(values)} class weights for {num_classes} classes; give one for each class")
    if not values.isfinite().all() or (values < 0).any() or not values.any():
        raise RecipeError(f"class weights {list(weights)} must be finite and not negative, and not all 0")
    return values
