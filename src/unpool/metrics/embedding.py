"""Scores of embeddings over a whole set: verification of pairs, identification of people, rejection of strangers."""

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unpool.metrics.identification import (
    MOST_RANKS,
    People,
    cmc,
    distances_to_people,
    interval_of_rank1,
    open_set,
    ranks_of,
)
from unpool.metrics.verification import (
    Bools,
    Floats,
    accuracy,
    area,
    best_threshold,
    interval_over_people,
    roc_of,
    tar_at,
)
from unpool.types import CALIBRATING, ENROLLED, MEASURED, Batch, Prediction

FARS = (0.1, 0.01, 0.001)
MOST_PAIRS = 4_500_000  # that are made, where no pairs are given: all of 3,000 images
_CURVE = 101  # points of a curve
_NO_ROWS = np.zeros((0, 4), np.int64)
_AT_ONCE = 1 << 16  # pairs whose differences are in memory
_log = logging.getLogger(__name__)


class EmbeddingScores:
    """Distances of unit embeddings, gathered over a set and compared as its `role` and `pairs` say.

    - Pairs are those of `pairs`. Where a set has none to measure, each measured image is paired with all enrolled ones,
      or, where nobody is enrolled, with all others that are measured; of so many that there would be more than
      `MOST_PAIRS`, some are taken, evenly spread.
    - The threshold is chosen on pairs of other people than those that it is used on: on calibrating pairs where there
      are any; else, where the pairs have folds, on those of all other folds; else it is the one of training.
    - Measured images are searched among enrolled people, by the nearest image of each; where nobody is enrolled, among
      all other measured images.

    Args:
        threshold: distance of training up to which two images are of one person; None where none was chosen.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.known_threshold = threshold
        self._embeddings: list[Tensor] = []
        self._facts: list[Tensor] = []  # (B, 3) position, person, role
        self._pairs: list[Tensor] = []  # (N, 4) position, position of the other, 1 for the same person, fold

    def update(self, prediction: Prediction, batch: Batch) -> None:
        """Adds a batch: `embedding` (B, E) of length 1, and `identity`; `position`, `role` and `pairs` where known."""
        position = batch.get("position", batch["index"]).cpu()
        role = batch["role"].cpu() if "role" in batch else torch.full_like(position, MEASURED)
        self._embeddings.append(prediction["embedding"].cpu().float())
        self._facts.append(torch.stack([position, batch["identity"].cpu(), role], 1))
        for first, pairs in zip(position, batch.get("pairs", ()), strict=False):
            if len(pairs):
                self._pairs.append(torch.cat([first.expand(len(pairs), 1), pairs.cpu()], 1))

    def merge(self, other: "EmbeddingScores") -> None:
        self._embeddings += other._embeddings
        self._facts += other._facts
        self._pairs += other._pairs

    def compute(self) -> dict[str, Any]:
        """The scores, None where the set has nothing to count; see `tasks.embedding` for their names."""
        broken = sum(int((~part.isfinite().all(1)).sum()) for part in self._embeddings)
        if broken:
            _log.warning("the embeddings of %d images are not finite, so that nothing is measured", broken)
        if broken or not self._embeddings:
            return {**_verified(None, None), **_identified(None, None)}
        facts = torch.cat(self._facts)
        order = facts[:, 0].argsort(stable=True)
        facts = facts[order].numpy()
        vectors = torch.cat(self._embeddings)[order].double().numpy()
        gallery = _Gallery(vectors, facts[:, 0], facts[:, 1], facts[:, 2])
        pairs = _Pairs.listed(gallery, torch.cat(self._pairs).numpy() if self._pairs else _NO_ROWS)
        if (pairs.fold == CALIBRATING).all():
            pairs = pairs.beside(_Pairs.drawn(gallery))
        scores = _verified(pairs, self.known_threshold)
        return {**scores, **_identified(gallery, scores["pair_threshold"])}


class _Gallery:
    """The images of a set, in the order of their positions."""

    def __init__(self, vectors: Floats, position: People, people: People, role: People) -> None:
        self.vectors, self.position, self.people, self.role = vectors, position, people, role

    def of(self, role: int) -> People:
        return np.flatnonzero(self.role == role)

    def between(self, first: People, second: People) -> Floats:
        """(A, B) distances of images by their numbers here, row by row, so that differences fit into memory."""
        among = self.vectors[second]
        rows = [np.sqrt(np.square(self.vectors[one] - among).sum(1)) for one in first]
        return np.stack(rows) if rows else np.zeros((0, len(second)))

    def along(self, ends: People) -> Floats:
        """(N,) distances of pairs (N, 2) of such numbers, in parts, for the same reason."""
        parts = np.array_split(ends, len(ends) // _AT_ONCE + 1)
        each = [np.sqrt(np.square(self.vectors[a] - self.vectors[b]).sum(1)) for a, b in (part.T for part in parts)]
        return np.concatenate(each)


class _Pairs:
    """Pairs of a set: their distances, kinds, people and folds; and how many could not be made."""

    def __init__(self, distance: Floats, is_same: Bools, people: People, fold: People, lost: int) -> None:
        self.distance, self.is_same, self.people, self.fold, self.lost = distance, is_same, people, fold, lost

    @classmethod
    def listed(cls, gallery: _Gallery, rows: People) -> "_Pairs":
        """Those of the set, without pairs of which an image could not be read."""
        is_there = np.isin(rows[:, 0], gallery.position) & np.isin(rows[:, 1], gallery.position)
        kept = rows[is_there]
        kept = kept[np.lexsort((kept[:, 1], kept[:, 0], kept[:, 3]))]
        ends = np.searchsorted(gallery.position, kept[:, :2])
        return cls(gallery.along(ends), kept[:, 2] == 1, gallery.people[ends], kept[:, 3], int((~is_there).sum()))

    @classmethod
    def drawn(cls, gallery: _Gallery) -> "_Pairs":
        """All pairs of measured and enrolled images, or of measured images."""
        measured, enrolled = gallery.of(MEASURED), gallery.of(ENROLLED)
        most = MOST_PAIRS // len(enrolled) if len(enrolled) else int((2 * MOST_PAIRS) ** 0.5)
        if len(measured) > most:
            measured = measured[np.linspace(0, len(measured) - 1, max(most, 1)).round().astype(int)]
        if len(enrolled):
            ends = np.stack([np.repeat(measured, len(enrolled)), np.tile(enrolled, len(measured))], 1)
        else:
            ends = measured[np.stack(np.triu_indices(len(measured), 1), 1)]
        people = gallery.people[ends]
        fold = np.zeros(len(ends), np.int64)
        return cls(gallery.along(ends), people[:, 0] == people[:, 1], people, fold, 0)

    def beside(self, other: "_Pairs") -> "_Pairs":
        """These and the other pairs."""
        return _Pairs(
            distance=np.concatenate([self.distance, other.distance]),
            is_same=np.concatenate([self.is_same, other.is_same]),
            people=np.concatenate([self.people, other.people]),
            fold=np.concatenate([self.fold, other.fold]),
            lost=self.lost + other.lost,
        )

    def where(self, chosen: Bools) -> "_Pairs":
        return _Pairs(self.distance[chosen], self.is_same[chosen], self.people[chosen], self.fold[chosen], self.lost)

    @property
    def has_both(self) -> bool:
        return bool(self.is_same.any() and (~self.is_same).any())

    def threshold(self) -> float | None:
        return best_threshold(self.distance, self.is_same) if self.has_both else None


def _verified(pairs: _Pairs | None, known: float | None) -> dict[str, Any]:
    """Scores of pairs; of None the names alone."""
    names = ("pair_accuracy", "pair_accuracy_low", "pair_accuracy_high", "pair_auc", *(f"tar@{far:g}" for far in FARS))
    scores: dict[str, Any] = dict.fromkeys(names)
    scores |= {"pair_threshold": known, "fold_accuracy": {}, "pair_counts": {}, "roc": []}
    if pairs is None:
        return scores
    calibrating, judged = pairs.where(pairs.fold == CALIBRATING), pairs.where(pairs.fold != CALIBRATING)
    kinds = {"same": judged.is_same.sum(), "different": (~judged.is_same).sum(), "calibrating": len(calibrating.fold)}
    scores["pair_counts"] = {name: int(count) for name, count in kinds.items()} | {"unreadable": pairs.lost}
    scores["pair_threshold"], by_fold = _thresholds(calibrating, judged, known)
    if not judged.has_both:
        return scores
    roc = roc_of(judged.distance, judged.is_same)
    others = int((~judged.is_same).sum())
    scores["pair_auc"] = area(roc)
    scores |= {f"tar@{far:g}": tar_at(roc, far, others=others) for far in FARS}
    each = {fold: judged.where(judged.fold == fold) for fold in np.unique(judged.fold).tolist()}
    scores["roc"] = [_sampled(one) for one in each.values()]
    if by_fold is None:
        return scores | {"fold_accuracy": {f"fold {fold + 1}": None for fold in each}}
    accuracies = {fold: accuracy(one.distance, one.is_same, by_fold[fold]) for fold, one in each.items()}
    scores["fold_accuracy"] = {f"fold {fold + 1}": value for fold, value in accuracies.items()}
    values = [value for value in accuracies.values() if value is not None]
    scores["pair_accuracy"] = float(np.mean(values)) if values else None
    each_pair = np.array([by_fold[fold] for fold in judged.fold.tolist()])
    if (ends := interval_over_people(judged.distance, judged.is_same, each_pair, judged.people)) is not None:
        scores["pair_accuracy_low"], scores["pair_accuracy_high"] = ends
    return scores


def _thresholds(
    calibrating: _Pairs, judged: _Pairs, known: float | None
) -> tuple[float | None, dict[int, float] | None]:
    """The threshold to use on new people, and that of each fold, chosen on other people; None where there is none."""
    folds = np.unique(judged.fold).tolist()
    if (threshold := calibrating.threshold()) is not None:
        return threshold, dict.fromkeys(folds, threshold)
    if len(folds) > 1:
        others = {fold: judged.where(judged.fold != fold).threshold() for fold in folds}
        chosen = {fold: value for fold, value in others.items() if value is not None}
        return judged.threshold(), chosen if len(chosen) == len(folds) else None
    return known, None if known is None else dict.fromkeys(folds, known)


def _sampled(pairs: _Pairs) -> list[float]:
    """Shares of accepted pairs of one person at false accept rates 0, 0.01, ... 1; empty where a kind is missing."""
    if not pairs.has_both:
        return []
    roc = roc_of(pairs.distance, pairs.is_same)
    return [float(roc.tar[roc.far <= far + 1e-12].max()) for far in np.linspace(0, 1, _CURVE)]


def _identified(gallery: _Gallery | None, threshold: float | None) -> dict[str, Any]:
    """Scores of the search for people; of None the names alone."""
    names = ("rank1", "rank1_low", "rank1_high", "rank5", "strangers_rejected", "known_accepted", "strangers_auc")
    scores: dict[str, Any] = dict.fromkeys(names)
    scores |= {"cmc": {}, "search_counts": {}}
    if gallery is None:
        return scores
    measured, enrolled = gallery.of(MEASURED), gallery.of(ENROLLED)
    among = enrolled if len(enrolled) else measured
    if not len(measured) or not len(among):
        return scores
    distance = gallery.between(measured, among)
    distance[measured[:, None] == among[None]] = np.inf
    to_people, people = distances_to_people(distance, gallery.people[among])
    truth = gallery.people[measured]
    is_known = np.isin(truth, people)
    mine = np.searchsorted(people, truth[is_known])
    is_known[is_known] = np.isfinite(to_people[is_known][np.arange(len(mine)), mine])  # not alone with one image
    scores["search_counts"] = {"images": int(is_known.sum()), "people": len(people)}
    scores["search_counts"]["strangers"] = int((~is_known).sum()) if len(enrolled) else 0
    if not is_known.any():
        return scores
    ranks = ranks_of(to_people[is_known], people, truth[is_known])
    shares = cmc(ranks, min(MOST_RANKS, len(people)))
    scores["cmc"] = {f"rank {rank}": share for rank, share in enumerate(shares, 1)}
    scores["rank1"], scores["rank5"] = shares[0], shares[min(5, len(shares)) - 1]
    if (ends := interval_of_rank1(ranks, truth[is_known])) is not None:
        scores["rank1_low"], scores["rank1_high"] = ends
    if len(enrolled) and not is_known.all():
        near = to_people.min(1)
        names = ("strangers_rejected", "known_accepted", "strangers_auc")
        scores |= zip(names, open_set(near[is_known], ranks, near[~is_known], threshold), strict=True)
    return scores
