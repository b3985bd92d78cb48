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
from unpool.training.evaluation import Evaluate
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

    All of it is a function of what each evaluation of a trained epoch gave, which is saved with the run: the history
    may get other values at the end, of precise statistics of batch norm.

    Args:
        evaluation: whose figures are watched; those of other callbacks are not.
        patience: evaluations without improvement that make a stall.
        drops: how often the rate is lowered; 0 ends the run at the first stall.
        gamma: factor of the rate.
    """

    def __init__(self, evaluation: Evaluate, *, patience: int, drops: int = 0, gamma: float = 0.1) -> None:
        self.evaluation = evaluation
        self.patience = patience
        self.drops = drops
        self.gamma = gamma
        self.epochs: list[int] = []
        self.values: list[float | None] = []

    def after_evaluation(self, job: Job, metrics: dict[str, Any]) -> None:
        counters, last = job.counters, self.evaluation.history[-1:]
        if not last or last[0]["epoch"] != counters.epoch + 1 or last[0]["epoch"] in self.epochs[-1:]:
            return
        self.epochs.append(counters.epoch + 1)
        self.values.append(last[0].get(job.task.best))
        count, before = len(self._stalled_epochs(job)), counters.rate_factor
        counters.rate_factor = self.gamma ** min(count, self.drops)
        counters.is_ended = count > self.drops
        if counters.epoch + 1 == job.epochs:  # there is nothing left to change, unless the run is resumed for more
            return
        stalled = f"{job.task.best} has not improved in {self.patience} evaluations"
        if counters.is_ended:
            _log.info("%s: the run ends after epoch %d", stalled, counters.epoch + 1)
        elif counters.rate_factor != before:
            _log.info("%s: the learning rate is multiplied by %g from here on", stalled, self.gamma)

    def selection(self, job: Job) -> str | None:
        """What was chosen on the validation images, for whoever reads the figures; None if nothing was."""
        epochs = [epoch for epoch in self._stalled_epochs(job) if epoch < job.epochs]  # the last one ends by itself
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

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs, self.values = list(state["epochs"]), list(state["values"])

    def _stalled_epochs(self, job: Job) -> list[int]:
        """The epochs that end a stall: those at which the rate is lowered, and the one at which the run ends."""
        better = job.task.description(job.task.best).higher_is_better
        positions = stalls(self.values, patience=self.patience, higher_is_better=better)
        return [self.epochs[position] for position in positions[: self.drops + 1]]


def _listed(epochs: Sequence[int]) -> str:
    *first, last = map(str, epochs)
    return f"{', '.join(first)} and {last}" if first else last
