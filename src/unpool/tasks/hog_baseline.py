"""The baseline before learning: histograms of oriented gradients and a linear support vector machine.

Dalal and Triggs 2005: cells of 8 x 8 pixels, blocks of 2 x 2 cells, 9 orientations, L2-Hys. Images are brought to
SIDE x SIDE pixels, where they had windows of 64 x 128. Of a large training set some images take part, drawn at random.
"""

from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from unpool.errors import DataError, EnvironmentFault
from unpool.ops.cutting import resize_to
from unpool.ops.drawing import drawable
from unpool.ops.linear_classifiers import fit_linear
from unpool.types import Samples

SIDE = 64
MOST = 2000  # training images
_PENALTIES = (0.1, 0.01, 0.001)


def require_hog() -> None:
    """Raises EnvironmentFault where scikit-image is not installed, which has the features."""
    if find_spec("skimage") is None:
        raise EnvironmentFault("task.baseline hog needs scikit-image: pip install 'unpool[hog]', or leave it out")


def hog_features(image: Tensor) -> Tensor:
    """(1764,) float32 histograms of an image (C, H, W) uint8, of which up to three channels are seen.

    In each pixel the channel of the largest gradient counts.
    """
    from skimage.feature import hog  # takes a second to import

    seen = resize_to(drawable(image), (SIDE, SIDE)).permute(1, 2, 0).numpy()
    values = hog(seen, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1)
    return torch.from_numpy(values.astype(np.float32))


def hog_accuracy(train_samples: Samples, test_samples: Samples, num_classes: int) -> tuple[float, int] | None:
    """Accuracy on `test_samples`, and how many of `train_samples` were learned from.

    Images that cannot be read are left out; None where those left are of one class.
    """
    drawn = torch.randperm(len(train_samples), generator=torch.Generator().manual_seed(0))[:MOST].sort().values
    features, labels = _features(train_samples, drawn.tolist())
    if len(set(labels.tolist())) < 2:
        return None
    fit = fit_linear(features, labels, num_classes=num_classes, by="svm", penalties=_PENALTIES)
    seen, truth = _features(test_samples, range(len(test_samples)))
    return float(((seen @ fit.weight.T + fit.bias).argmax(1) == truth).double().mean()), len(labels)


def _features(samples: Samples, indices: Iterable[int]) -> tuple[Tensor, Tensor]:
    features, labels = [], []
    for index in indices:
        try:
            sample = samples[index]
        except DataError:  # training replaced it, and said so
            continue
        features.append(hog_features(sample["image"]))
        labels.append(int(sample["label"]))
    return torch.stack(features) if features else torch.empty(0), torch.tensor(labels)
