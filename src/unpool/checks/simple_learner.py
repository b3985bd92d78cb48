"""A learner that takes a second: patches of the pictures as filters, and ridge regression with each sample left out.

The features are those of Coates, Ng and Lee 2011 ("An analysis of single-layer networks"): correlation with patches of
the set itself, rectified and averaged over quarters of the picture, and the colours of a grid of 4 x 4. What ridge
regression says of a sample that it was not fitted to follows from its fit to all of them (Allen's PRESS), so that every
sample has an answer from outside at the price of one decomposition.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

FILTERS, PATCH = 96, 6
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)  # of the mean eigenvalue


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
    """Ridge regression on the features of a set.

    Attributes:
        inverse: (N, N), of the kernel with its penalty.
        features, mean, deviation: of the set.
    """

    inverse: Tensor
    features: Tensor
    mean: Tensor
    deviation: Tensor

    def left_out(self, targets: Tensor) -> Tensor:
        """What the fit to all other samples says of each, (N, M)."""
        values = targets.double() - targets.double().mean(0)
        return targets.double() - (self.inverse @ values) / self.inverse.diagonal()[:, None]

    def says(self, targets: Tensor, features: Tensor) -> Tensor:
        """What the fit to all samples says of others, (K, M)."""
        kernel = self._normed(features) @ self._normed(self.features).T
        mean = targets.double().mean(0)
        return kernel @ (self.inverse @ (targets.double() - mean)) + mean

    def _normed(self, features: Tensor) -> Tensor:
        return (features.double() - self.mean) / self.deviation

    def explained(self, targets: Tensor) -> float:
        """The part of the targets' variance that is explained from outside; at most 1, below 0 where nothing is."""
        error = (self.left_out(targets) - targets).square().sum()
        return 1 - float(error / (targets.double() - targets.double().mean(0)).square().sum().clamp_min(1e-12))


def fit(features: Tensor, targets: Tensor) -> Fit:
    """Fits targets (N, M); the penalty is the one that errs least on samples left out."""
    values = features.double()
    mean, deviation = values.mean(0), values.std(0).clamp_min(1e-6) * values.shape[1] ** 0.5
    normed = (values - mean) / deviation
    eigenvalues, vectors = torch.linalg.eigh(normed @ normed.T)
    eigenvalues = eigenvalues.clamp_min(0)
    fits = []
    for penalty in PENALTIES:
        inverse = (vectors / (eigenvalues + penalty * eigenvalues.mean())) @ vectors.T
        fits.append(Fit(inverse, features, mean, deviation))
    return max(fits, key=lambda one: one.explained(targets))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N, classes) of labels within the range; others are 0 throughout."""
    labels = labels.long()
    inside = (labels >= 0) & (labels < classes)
    return F.one_hot(labels.clamp(0, classes - 1), classes).double() * inside[:, None]
