"""Losses as sums and counts, and the class weights that go with them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.errors import DataError, RecipeError
from unpool.types import IGNORE, Term

# a count that stays zero would make sum / count NaN in a batch without a labelled pixel; next to any real count this
# is lost in rounding
LEAST_COUNT = 1e-12


def pixel_cross_entropy(logits: Tensor, mask: Tensor, class_weights: Tensor | None = None) -> Term:
    """Cross-entropy over labelled pixels; the count is the sum of their class weights.

    Args:
        logits: (B, N, H, W) float.
        mask: (B, H, W) int64 class or IGNORE.
        class_weights: (N,) float32; without them every pixel weighs 1.

    Returns:
        Sum and count in float32. Where every pixel is IGNORE, sum / count and its gradient are 0.

    Example:
        >>> logits, mask = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, IGNORE]]])
        >>> pixel_cross_entropy(logits, mask)  # twice log 2, over two labelled pixels
        Term(sum=tensor(1.3863), count=tensor(2.), weight=1.0)
    """
    logits = logits.float()
    total = nn.functional.cross_entropy(logits, mask, class_weights, ignore_index=IGNORE, reduction="sum")
    if class_weights is None:
        count = (mask != IGNORE).sum().float()
    else:
        by_value = class_weights.new_zeros(IGNORE + 1)
        by_value[: len(class_weights)] = class_weights
        count = by_value[mask].sum()
    return Term(total, count.clamp_min(LEAST_COUNT))


def label_cross_entropy(logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0) -> Term:
    """Cross-entropy over images; the count is the number of images.

    Args:
        logits: (B, N) float.
        label: (B,) int64.
        label_smoothing: share of the target spread evenly over all N classes.

    Source: Szegedy et al. 2016, arXiv:1512.00567, section 7.

    Example:
        >>> label_cross_entropy(torch.zeros(2, 4), torch.tensor([0, 3]))  # twice log 4
        Term(sum=tensor(2.7726), count=tensor(2.), weight=1.0)
    """
    total = nn.functional.cross_entropy(logits.float(), label, reduction="sum", label_smoothing=label_smoothing)
    return Term(total, torch.tensor(float(len(label)), device=label.device))


def median_frequency(class_pixels: Tensor, image_pixels: Tensor) -> Tensor:
    """Median-frequency weight of each class.

    The frequency of a class is its pixels over the labelled pixels of the images that hold it; the weight is the median
    frequency over the frequency. A class without a pixel has no frequency: it takes no part in the median and weighs 1.

    Args:
        class_pixels: (N,) pixels of each class in the training set.
        image_pixels: (N,) labelled pixels of the images that hold the class.

    Returns:
        (N,) float32, finite and positive.

    Source: Eigen and Fergus 2015, arXiv:1411.4734, section 6.3.2, as used by SegNet, arXiv:1511.00561, section 4.1.

    Example:
        >>> median_frequency(torch.tensor([80, 20, 0]), torch.tensor([100, 100, 0]))
        tensor([0.6250, 2.5000, 1.0000])
    """
    seen = class_pixels > 0
    if not seen.any():
        raise DataError("no labelled pixel in the training set: class weights need at least one mask that has classes")
    frequency = class_pixels.double() / image_pixels.double().clamp_min(1)
    weights = torch.ones_like(frequency)
    weights[seen] = frequency[seen].quantile(0.5) / frequency[seen]
    return weights.float()


def listed_weights(weights: Sequence[float], num_classes: int) -> Tensor:
    """Weights as a user lists them, (N,) float32.

    Raises:
        RecipeError: not one finite number above or equal to 0 for each class, or all are 0.

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


def check_classes(target: Tensor, num_classes: int, *, key: str, index: Tensor | None, ignore: int | None) -> None:
    """Refuses targets that are no class, before a kernel reads outside of its table.

    Args:
        target: (B, ...) int64; waits for the device if it is not on the host.
        num_classes: classes are 0 to `num_classes - 1`.
        key: what the target is called in the batch.
        index: (B,) position of each sample in its set, for the message.
        ignore: a value that is no class and is allowed, or None.

    Raises:
        DataError: names the samples and the values.

    Example:
        >>> label, index = torch.tensor([0, 7]), torch.tensor([10, 11])
        >>> check_classes(label, 3, key="label", index=index, ignore=None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        unpool.errors.DataError: label of sample 11 holds [7]; allowed are 0 to 2: ...
    """
    if not target.numel():
        return
    low, high = (int(bound) for bound in target.aminmax())
    if low >= 0 and high < num_classes:
        return
    wrong = (target < 0) | (target >= num_classes)
    if ignore is not None:
        wrong &= target != ignore
    if not wrong.any():
        return
    values = target[wrong].unique().tolist()
    rows = wrong.flatten(1).any(1) if wrong.dim() > 1 else wrong
    samples = "" if index is None else f" of sample {', '.join(map(str, index[rows.to(index.device)].tolist()))}"
    allowed = f"0 to {num_classes - 1}" + ("" if ignore is None else f" and {ignore} for no label")
    raise DataError(f"{key}{samples} holds {values}; allowed are {allowed}: correct the labels or the list of classes")
