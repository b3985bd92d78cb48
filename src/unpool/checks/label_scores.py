"""What a learner says of the labels of training and validation, each of which it was not fitted to."""

import time
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from unpool.checks.quick_network import Judge, cross_scores
from unpool.checks.seen import Seen, see
from unpool.checks.simple_learner import features_of, fit, one_hot

if TYPE_CHECKING:
    from unpool.checks.setup import Setup

LEAST, MOST_CLASSES = 60, 200  # samples of a split
QUICK, DEEP, DEFAULT_S = 0.15, 0.4, 120.0  # shares of the time of all checks, and of that beyond the default
LARGEST = 0.5  # share of what is left
READ, READ_VAL = 0.4, 0.2  # of the time
FEW, MANY = 8_000, 50_000  # samples at most: for ridge regression, and for networks
LEAST_NETWORK, NETWORK_S = 10_000, 60.0  # samples and seconds from which on networks tell more than ridge regression


class LabelScores(NamedTuple):
    """Scores of labels from outside.

    Attributes:
        seen, seen_val: the samples of training that were searched, and those of validation.
        labels, val_labels: (N) and (K), as they stand in the data.
        scores, val_scores: (N, C) and (K, C), by the same learner.
        learner: what it is, in words.
        seconds: that reading and learning took.
    """

    seen: Seen
    labels: Tensor
    scores: Tensor
    seen_val: Seen
    val_labels: Tensor
    val_scores: Tensor
    learner: str
    seconds: float

    @property
    def right(self) -> tuple[float, float]:
        """The shares of labels that are the class with the highest score, in training and in validation."""
        pairs = ((self.scores, self.labels), (self.val_scores, self.val_labels))
        first, second = (float((scores.argmax(1) == labels).double().mean()) for scores, labels in pairs)
        return first, second


def label_scores_of(setup: "Setup") -> LabelScores | None:
    """Reads as many samples as the time allows, and learns them: by networks where there is much of both."""
    start = time.monotonic()
    whole = 60 * setup.budget.minutes
    seconds = min(setup.budget.share_s(LARGEST), QUICK * whole + DEEP * max(0.0, whole - DEFAULT_S))
    most = MANY if seconds >= NETWORK_S else FEW
    seen, val = _searched(setup, most, seconds)
    labels, val_labels = _classes(seen), _classes(val)
    if labels is None or val is None or val_labels is None or val.small.shape[1] != seen.small.shape[1]:
        return None
    classes = int(labels.max()) + 1
    if not 2 <= classes <= MOST_CLASSES:
        return None
    known = val_labels < classes
    val_labels, pictures = val_labels[known], val.small[known]
    if len(seen) >= LEAST_NETWORK and seconds >= NETWORK_S:
        is_mirrored = any("flip" in name for name in setup.facts.get("augmentations", ()))
        judge = Judge(classes, seconds - (time.monotonic() - start), is_mirrored, setup.device, setup.seed)
        scores, val_scores = cross_scores(judge, seen.small, labels, pictures)
        learner = "small networks trained on the other folds"
    else:
        scores, val_scores = _by_ridge(seen.small[:FEW], labels[:FEW], pictures, classes, setup.seed)
        labels = labels[:FEW]
        learner = "ridge regression on all others"
    return LabelScores(seen, labels, scores, val, val_labels, val_scores, learner, time.monotonic() - start)


def _searched(setup: "Setup", most: int, seconds: float) -> tuple[Seen, Seen | None]:
    """What has been read where that is all of a split, else more."""
    seen, val = setup.seen, setup.seen_val
    if len(seen) and not seen.is_whole:
        seen = max(seen, see(setup, setup.train, most=most, seconds=READ * seconds), key=len)
    if setup.val is not None and val is not None and len(val) and not val.is_whole:
        val = max(val, see(setup, setup.val, most=FEW // 2, seconds=READ_VAL * seconds), key=len)
    return seen, val


def _classes(seen: Seen | None) -> Tensor | None:
    """(N) class numbers of a split; None where it has too few samples or other targets."""
    if seen is None or len(seen) < LEAST or seen.numbers is None or seen.numbers.numel() != len(seen):
        return None
    labels = seen.numbers.flatten().long()
    return labels if int(labels.min()) >= 0 else None


def _by_ridge(images: Tensor, labels: Tensor, others: Tensor, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    features, filters = features_of(images, seed=seed)
    targets = one_hot(labels, classes)
    learned = fit(features, targets)
    return learned.left_out(targets), learned.says(targets, features_of(others, filters)[0])
