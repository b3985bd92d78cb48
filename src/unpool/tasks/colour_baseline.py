"""The score of a classifier of single pixels by colour: a network that does not exceed it has not learned shapes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unpool.metrics.confusion import Confusion, mean
from unpool.ops.drawing import drawable
from unpool.types import IGNORE, Samples

_SHIFT = 3  # 32 bins a channel


def colour_bin_baseline(train_samples: Samples, test_samples: Samples, num_classes: int) -> float:
    """Mean intersection over union of a table from the colour of a pixel to its most frequent class in training.

    Args:
        train_samples: with `image`, of which up to three channels are seen, and `mask`.
        test_samples: likewise.
        num_classes: classes in the masks.
    """
    table = _table(train_samples, num_classes)
    counts = Confusion(num_classes, key="mask", ignore=IGNORE)
    for i in range(len(test_samples)):
        sample = test_samples[i]
        predicted = torch.from_numpy(table[_bins(sample["image"])])
        counts.update({"mask": predicted}, {"mask": sample["mask"].reshape(-1)})
    return mean(counts.iou()) or 0.0


def _table(samples: Samples, num_classes: int) -> NDArray[np.int64]:
    """Class of each colour bin; bins never seen get the most frequent class of all."""
    bins = 1 << (8 - _SHIFT) * len(drawable(samples[0]["image"]))
    seen = np.zeros(bins * num_classes, dtype=np.int64)
    for i in range(len(samples)):
        sample = samples[i]
        mask = sample["mask"].reshape(-1).numpy().astype(np.int64)
        keep = mask != IGNORE
        seen += np.bincount(_bins(sample["image"])[keep] * num_classes + mask[keep], minlength=len(seen))
    table = seen.reshape(bins, num_classes)
    return np.where(table.any(1), table.argmax(1), table.sum(0).argmax())


def _bins(image: Tensor) -> NDArray[np.int64]:
    """(C, H, W) uint8 -> (H*W,) number of the colour bin."""
    result = np.zeros(image[0].numel(), dtype=np.int64)
    for channel in drawable(image):
        result = result << (8 - _SHIFT) | (channel.reshape(-1).numpy() >> _SHIFT)
    return result
