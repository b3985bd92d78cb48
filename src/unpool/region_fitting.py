"""R-CNN's second step: support vector machines and box regression on the features of regions, one image at a time.

Girshick et al. 2014 (arXiv:1311.2524, section 2.3 and appendices B and C). The positives of a class are the features
fc7 of its true boxes; its negatives are proposals that overlap each of them by less than 0.3, of which those count that
a machine finds hard: images are gone through once, what lies within the margin or beyond it is added, the machine is
fitted again once there are more than 2000, and what has become easy is left out. A proposal that overlaps a thing by
more than 0.6 learns from its features pool5 to move there, by ridge regression. Both read features whose norm is 20 on
average, for which the published C and lambda are. The numbers that the paper leaves out are those of its release
(rbgirshick/rcnn, rcnn_train.m and rcnn_train_bbox_regressor.m).

Differs: the hinge loss is squared, and biases have no penalty; the average norm is that of true boxes, and in the
release of all proposals of some images; regression takes at most `ROWS` proposals of a class, drawn evenly.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from unpool.assemble.data import Data
from unpool.assemble.job import Prepare, make_device
from unpool.assemble.loaders import make_eval_loader
from unpool.models.detection.rcnn import RCNNWithMachines
from unpool.models.weights import some
from unpool.ops.boxes import encode, iou
from unpool.ops.layout import Layout
from unpool.ops.linear_classifiers import fit_machine, fit_ridge
from unpool.ops.matching import BACKGROUND
from unpool.recipe import Recipe
from unpool.tasks.detection_output import regions_of
from unpool.tasks.detection_truth import Truth, match_anchors, truths
from unpool.training.job import streamed
from unpool.types import Batch

NEGATIVE = 0.3  # IoU with every box of the class below which a proposal is a negative
NEAR = 0.6  # IoU with a thing above which a proposal learns to move there
COST = 1e-3  # C of the machines
POSITIVE_WEIGHT = 2  # times which the loss of a true box counts
STRENGTH = 1000.0  # lambda of the regression
NORM = 20.0  # of features, on average
HARD, EASY = -1.0001, -1.2  # margins from which on a negative is added, and below which it is left out
ADDED = 2000  # hard negatives of a class above which its machine is fitted again
NONE = -100.0  # margin of a class without a true box or a negative
ROWS = 10_000  # proposals of a class that regression takes
_LEAST = 1e-12  # norm
_log = logging.getLogger(__name__)


class Machine:
    """The support vector machine of one class and the negatives that it finds hard.

    Args:
        positives: (n, d) features of the true boxes.
    """

    def __init__(self, positives: Tensor) -> None:
        self.positives = positives
        self.negatives = positives[:0]
        self.weight = positives.new_zeros(positives.shape[1])
        self.bias = positives.new_tensor(NONE)
        self._is_fitted = False
        self._added = 0

    def take(self, features: Tensor) -> None:
        """Adds further negatives (n, d) that are hard, all of the first ones, and fits again where it is time.

        A class without a true box, which nothing can be fitted for, takes none.
        """
        if not len(self.positives):
            return
        hard = features[self.margins(features) > HARD] if self._is_fitted else features
        self.negatives = torch.cat([self.negatives, hard])
        self._added += len(hard)
        if not self._is_fitted or self._added > ADDED:
            self.fit()

    def fit(self) -> None:
        """Fits the machine where there are both kinds, and leaves out the negatives that have become easy."""
        self._added = 0
        if not len(self.positives) or not len(self.negatives):
            return
        features = torch.cat([*[self.positives] * POSITIVE_WEIGHT, self.negatives])
        is_positive = torch.arange(len(features)) < POSITIVE_WEIGHT * len(self.positives)
        self.weight, self.bias = fit_machine(features, is_positive, cost=COST)
        self._is_fitted = True
        self.negatives = self.negatives[self.margins(self.negatives) >= EASY]

    def margins(self, features: Tensor) -> Tensor:
        """(n,) of features (n, d)."""
        return features @ self.weight + self.bias


class Moves:
    """Features and deltas of the proposals of one class that are near a thing, at most `ROWS`, drawn evenly."""

    def __init__(self, generator: torch.Generator) -> None:
        self.features: list[Tensor] = []
        self.deltas: list[Tensor] = []
        self._keys: list[Tensor] = []
        self._generator = generator

    def __len__(self) -> int:
        return sum(map(len, self.deltas))

    def take(self, features: Tensor, deltas: Tensor) -> None:
        """Adds rows (n, d) and (n, 4)."""
        self.features.append(features)
        self.deltas.append(deltas)
        self._keys.append(torch.rand(len(deltas), generator=self._generator))
        if len(self) > 2 * ROWS:
            self._thin()

    def fit(self) -> tuple[Tensor, Tensor]:
        """Weight (4, d) and bias (4,) of the regression."""
        self._thin()
        return fit_ridge(self.features[0], self.deltas[0], strength=STRENGTH)

    def _thin(self) -> None:
        keys = torch.cat(self._keys)
        kept = keys.argsort()[:ROWS].sort().values
        self.features, self.deltas = [torch.cat(self.features)[kept]], [torch.cat(self.deltas)[kept]]
        self._keys = [keys[kept]]


def fit_to_set(recipe: Recipe, network: RCNNWithMachines, data: Data) -> dict[str, Any]:
    """`fit_regions` on the training images of a recipe, and how many these and the features of a region are."""
    if recipe.model.weights is None:
        _log.warning("model.weights is not set: features are those of a network as it is drawn, or as it was passed")
    prepare = Prepare(data.preprocessing, make_device(recipe))

    def batches() -> Iterator[Batch]:
        loader = make_eval_loader(recipe, data.train.samples, data.preprocessing)
        try:
            with streamed(loader, 0, 0, epochs=1) as stream:
                yield from map(prepare, stream)
        finally:
            loader.close()

    facts = fit_regions(network, batches, data.info.classes, seed=recipe.train.seed)
    return {"features": network.fitted.classes.in_features, "images": len(data.train.samples), **facts}


def fit_regions(
    network: RCNNWithMachines, batches: Callable[[], Iterable[Batch]], classes: Sequence[str], *, seed: int
) -> dict[str, Any]:
    """Fits what a network answers by, in place.

    Args:
        network: in evaluation mode, with the features that are to be read.
        batches: gives the training images, prepared, with `proposals`, each time that it is called.
        classes: names.
        seed: of the proposals that regression takes.

    Returns:
        By class the number of true boxes, of hard negatives at the end, and of proposals that regression took.
    """
    positives, scale5, scale7 = _positives(network, batches(), len(classes))
    machines = [Machine(one) for one in positives]
    generator = torch.Generator().manual_seed(seed)
    moves = [Moves(generator) for _ in classes]
    for batch in batches():
        layout = Layout.of(batch)
        regions = regions_of(batch, layout, layout.valid_xyxy.to(batch["image"].device))
        parts = zip(regions, truths(batch, is_training=False), *_features(network, batch, regions), strict=True)
        for boxes, truth, pool5, fc7 in parts:
            _take_negatives(machines, fc7 * scale7, boxes, truth)
            _take_moves(moves, pool5 * scale5, boxes, truth)
    for machine in machines:
        machine.fit()
    _write(network, machines, moves, scale5=scale5, scale7=scale7)
    counts = {
        "positives": {name: len(one.positives) for name, one in zip(classes, machines, strict=True)},
        "hard_negatives": {name: len(one.negatives) for name, one in zip(classes, machines, strict=True)},
        "regressed": {name: len(one) for name, one in zip(classes, moves, strict=True)},
    }
    for what, of_classes in counts.items():
        if none := [name for name, count in of_classes.items() if not count]:
            _log.warning("%s: none of %s, so that %s", what.replace("_", " "), some(none), _WITHOUT[what])
    return counts


_WITHOUT = {
    "positives": "these classes are never answered",
    "hard_negatives": "nothing was learned against these classes' background",
    "regressed": "boxes of these classes stay as they were proposed",
}


def _features(network: RCNNWithMachines, batch: Batch, boxes: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """pool5 and fc7 on the host, of the boxes of each image."""
    with torch.no_grad():
        described = network.describe((batch["image"],), boxes)
    return [one.float().cpu().split([len(of_image) for of_image in boxes]) for one in described]


def _positives(
    network: RCNNWithMachines, batches: Iterable[Batch], num_classes: int
) -> tuple[list[Tensor], float, float]:
    """fc7 of the true boxes of each class, scaled, and the factors of pool5 and fc7 that bring both to `NORM`."""
    labels, features, norms = [], [], []
    for batch in batches:
        of_batch = truths(batch, is_training=False)
        pool5, fc7 = (torch.cat(one) for one in _features(network, batch, [one.boxes for one in of_batch]))
        labels += [one.labels.cpu() for one in of_batch]
        features.append(fc7)
        norms.append(pool5.norm(dim=1))
    every, label = torch.cat(features), torch.cat(labels)
    scale5, scale7 = (NORM / max(float(one.mean()), _LEAST) for one in (torch.cat(norms), every.norm(dim=1)))
    return [every[label == number] * scale7 for number in range(num_classes)], scale5, scale7


def _take_negatives(machines: Sequence[Machine], features: Tensor, boxes: Tensor, truth: Truth) -> None:
    """Gives each machine the proposals (R, 4) of an image that do not show its class."""
    for number, machine in enumerate(machines):
        of_class = truth._replace(boxes=truth.boxes[truth.labels == number])
        matches = match_anchors(boxes, of_class, positive=NEGATIVE, negative=NEGATIVE)
        machine.take(features[(matches == BACKGROUND).cpu()])


def _take_moves(moves: Sequence[Moves], features: Tensor, boxes: Tensor, truth: Truth) -> None:
    """Gives each regression the proposals (R, 4) of an image that are near a thing of its class, and where to move."""
    if not len(truth.boxes):
        return
    best, nearest = iou(truth.boxes, boxes).max(0)
    deltas = encode(truth.boxes[nearest], boxes).cpu()
    labels = torch.where(best > NEAR, truth.labels[nearest], -1).cpu()
    for number, one in enumerate(moves):
        one.take(features[labels == number], deltas[labels == number])


@torch.no_grad()
def _write(
    network: RCNNWithMachines, machines: Sequence[Machine], moves: Sequence[Moves], *, scale5: float, scale7: float
) -> None:
    """Gives the network what was fitted, for features as they are."""
    fitted = network.fitted
    for number, (machine, move) in enumerate(zip(machines, moves, strict=True)):
        rows = slice(4 * number, 4 * number + 4)
        weight, bias = move.fit() if len(move) else (fitted.boxes.weight.new_zeros(()), fitted.boxes.bias.new_zeros(()))
        fitted.boxes.weight[rows] = (weight * scale5).to(fitted.boxes.weight)
        fitted.boxes.bias[rows] = bias.to(fitted.boxes.bias)
        fitted.classes.weight[number] = (machine.weight * scale7).to(fitted.classes.weight)
        fitted.classes.bias[number] = machine.bias.to(fitted.classes.bias)
