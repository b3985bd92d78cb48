"""A learner that takes a second: patches of the pictures as filters, and ridge regression with each sample left out.

The features are those of Coates, Ng and Lee 2011 ("An analysis of single-layer networks"): correlation with patches of
the set itself, rectified and averaged over quarters of the picture, and the colours of a grid of 4 x 4. What ridge
regression says of a sample that it was not fitted to follows from its fit to all of them (Allen's PRESS), so that every
sample has an answer from outside at the price of one decomposition, of a matrix as large as there are samples or
features, whichever are fewer.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FILTERS, PATCH = 96, 6
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # of the mean square of a sample


def features_of(small: Tensor, filters: Tensor | None = None, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features (N, D) of pictures (N, C, 32, 32), and the filters, which are drawn from them where None are given."""
    spread = small.std().clamp_min(1e-6)
    images = (small - small.mean()) / spread
    if filters is None:
        filters = _patches(images, seed)
    columns = []
    for chunk in images.split(128):
        maps = F.conv2d(chunk, filters)
        parts = torch.cat([maps.relu(), (-maps).relu()], 1)
        columns.append(
            torch.cat([F.adaptive_avg_pool2d(parts, 2).flatten(1), F.adaptive_avg_pool2d(chunk, 4).flatten(1)], 1)
        )
    return torch.cat(columns), filters


def _patches(images: Tensor, seed: int) -> Tensor:
    """Drawn patches without their mean, at length 1."""
    generator = torch.Generator().manual_seed(seed)
    last = images.shape[-1] - PATCH
    which = torch.randint(len(images), (4 * FILTERS,), generator=generator).tolist()
    corners = torch.randint(last + 1, (4 * FILTERS, 2), generator=generator).tolist()
    drawn = torch.stack([images[i][:, y : y + PATCH, x : x + PATCH] for i, (y, x) in zip(which, corners, strict=True)])
    drawn = drawn - drawn.mean((1, 2, 3), keepdim=True)
    lengths = drawn.flatten(1).norm(dim=1)
    chosen = lengths.argsort(descending=True)[: 2 * FILTERS][::2]  # those that show something
    return drawn[chosen] / lengths[chosen].clamp_min(1e-6)[:, None, None, None]


class Fit(NamedTuple):
    """Ridge regression on the features of a set, by the singular value decomposition of these.

    Attributes:
        left: (N, R), a row for each sample.
        right: (D, R), a row for each feature.
        variances: (R), squares of the singular values.
        penalty: that is added to them.
        mean, deviation: of the features.
    """

    left: Tensor
    right: Tensor
    variances: Tensor
    penalty: float
    mean: Tensor
    deviation: Tensor

    def left_out(self, targets: Tensor) -> Tensor:
        """What the fit to all other samples says of each, (N, M)."""
        kept = self.variances / (self.variances + self.penalty)
        values = targets.double() - targets.double().mean(0)
        errors = values - self.left @ (kept[:, None] * (self.left.T @ values))
        itself = self.left.square() @ kept  # the weight of a sample in the answer about it
        return targets.double() - errors / (1 - itself)[:, None].clamp_min(1e-9)

    def says(self, targets: Tensor, features: Tensor) -> Tensor:
        """What the fit to all samples says of others, (K, M)."""
        mean = targets.double().mean(0)
        return self._seen(features) @ (self.left.T @ (targets.double() - mean)) + mean

    def weights(self, features: Tensor) -> Tensor:
        """(K, N): how much the target of each sample counts in what the fit says of others, beside their mean."""
        return self._seen(features) @ self.left.T

    def _seen(self, features: Tensor) -> Tensor:
        """(K, R): the parts of others along the fit's directions, each as far as the penalty leaves it."""
        scale = self.variances.sqrt() / (self.variances + self.penalty)
        return ((features.double() - self.mean) / self.deviation) @ self.right * scale

    def explained(self, targets: Tensor) -> float:
        """The part of the targets' variance that is explained from outside; at most 1, below 0 where nothing is."""
        error = (self.left_out(targets) - targets).square().sum()
        return 1 - float(error / (targets.double() - targets.double().mean(0)).square().sum().clamp_min(1e-12))


def fit(features: Tensor, targets: Tensor) -> Fit:
    """Fits targets (N, M); the penalty is the one that errs least on samples left out."""
    values = features.double()
    mean, deviation = values.mean(0), values.std(0).clamp_min(1e-6) * values.shape[1] ** 0.5
    left, right, variances = _decomposed((values - mean) / deviation)
    mean_square = float(variances.sum()) / len(values)
    fits = [Fit(left, right, variances, part * mean_square, mean, deviation) for part in PENALTIES]
    return max(fits, key=lambda one: one.explained(targets))


def _decomposed(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left and right singular vectors and squared singular values, from the smaller of the two products."""
    is_wide = values.shape[1] > values.shape[0]
    variances, vectors = torch.linalg.eigh(values @ values.T if is_wide else values.T @ values)
    some = variances > 1e-10 * variances[-1]
    variances, vectors = variances[some], vectors[:, some]
    other = (values.T if is_wide else values) @ vectors / variances.sqrt()
    return (vectors, other, variances) if is_wide else (other, vectors, variances)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N, classes) of labels within the range; others are 0 throughout."""
    labels = labels.long()
    inside = (labels >= 0) & (labels < classes)
    return F.one_hot(labels.clamp(0, classes - 1), classes).double() * inside[:, None]
