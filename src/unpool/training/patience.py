"""Lowers the learning rate of a run, or ends it, where what is measured has stopped improving.

AlexNet's rate was divided by 10 when the error on the validation set stopped falling, three times before the end
(Krizhevsky et al. 2012, section 5). The figure is the one by which the best weights are chosen; what is equal, or no
number, is no improvement. Steps and rates that are chosen in this way are chosen on the validation images, and a run
says so.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any

from unpool.training.callbacks import Callback
from unpool.training.job import Job

_log = logging.getLogger(__name__)


def stalls(values: Sequence[float | None], *, patience: int, higher_is_better: bool) -> list[int]:
    """Positions at which `patience` values in a row were no better than the best one before; each begins a new count.

    Example:
        >>> stalls([0.5, 0.4, 0.4, 0.45, 0.3, 0.3, 0.3, 0.3, 0.3], patience=2, higher_is_better=False)
        [3, 6, 8]
    """
    best, waited, ends = -math.inf, 0, []
    for position, value in enumerate(values):
        score = -math.inf if value is None else value if higher_is_better else -value
        waited = 0 if score > best else waited + 1
        best = max(best, score)  # in this order: no number is larger than NaN, and the best one is kept
        if waited == patience:
            ends.append(position)
            waited = 0
    return ends


class Patience(Callback):
    """Multiplies the rate by `gamma` at each of the first `drops` stalls, and ends the run at the one after them.

    All of it is a function of the figures that it was given, which are saved with the run; those that precise
    statistics give at the end are not among them.

    Args:
        patience: evaluations without improvement that make a stall.
        drops: how often the rate is lowered; 0 ends the run at the first stall.
        gamma: factor of the rate.
    """

    def __init__(self, *, patience: int, drops: int = 0, gamma: float = 0.1) -> None:
        self.patience = patience
        self.drops = drops
        self.gamma = gamma
        self.watched: list[tuple[int, float | None]] = []  # epochs and figures

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        counters = job.counters
        self.watched.append((counters.epoch + 1, metrics.get(job.task.best)))
        positions = self._stalls(job)
        before = counters.rate_factor
        counters.rate_factor = self.gamma ** min(len(positions), self.drops)
        counters.is_ended = len(positions) > self.drops
        stalled = f"{job.task.best} has not improved in {self.patience} evaluations"
        if counters.epoch + 1 == job.epochs:
            return
        if counters.is_ended:
            _log.info("%s: the run ends after epoch %d", stalled, counters.epoch + 1)
        elif counters.rate_factor != before:
            _log.info("%s: the learning rate is multiplied by %g from here on", stalled, self.gamma)

    def selection(self, job: Job) -> str | None:
        """What was chosen on the validation images, for whoever reads the figures; None if nothing was."""
        epochs = [self.watched[position][0] for position in self._stalls(job)]
        epochs = [epoch for epoch in epochs if epoch < job.epochs]  # at the last one nothing is left to choose
        if not epochs:
            return None
        lowered, name = epochs[: self.drops], job.task.best
        chosen = [f"the learning rate was lowered after epoch {_listed(lowered)}"] if lowered else []
        if len(epochs) > self.drops:
            chosen.append(f"the run ended after epoch {epochs[self.drops]} of {job.epochs}")
        return (
            f"Chosen on the validation images: {' and '.join(chosen)}, when {name} had not improved in {self.patience} "
            "evaluations. The weights are the last ones; their figures are measured on these same images: one to "
            "publish is measured on others."
        )

    def _stalls(self, job: Job) -> list[int]:
        better = job.task.description(job.task.best).higher_is_better
        values = [value for _, value in self.watched]
        return stalls(values, patience=self.patience, higher_is_better=better)[: self.drops + 1]

    def state_dict(self) -> dict[str, Any]:
        return {"watched": self.watched}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.watched = [(epoch, value) for epoch, value in state["watched"]]


def _listed(epochs: Sequence[int]) -> str:
    *first, last = map(str, epochs)
    return f"{', '.join(first)} and {last}" if first else last
