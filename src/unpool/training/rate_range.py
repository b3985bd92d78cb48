"""The learning-rate range test: one short training whose rate rises from step to step.

Source: Smith 2017, arXiv:1506.01186, section 3.3. There the rate rises in equal parts and accuracy is watched; here it
rises by equal factors, which covers more, and the loss of each step is watched. Where too low a rate ends and too high
a one begins is read from the curve smoothed over as many neighbours on each side, which shifts no minimum. Proposed is
a tenth of the rate at which that loss is lowest: there the loss has almost begun to rise.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from unpool.errors import Diverged
from unpool.training.callbacks import Callback
from unpool.training.job import Counters, Job, StepRecord
from unpool.training.loop import fit

LOW, HIGH, STEPS = 1e-6, 10.0, 120  # rates and steps of a test: 17 steps for each factor of ten
LEAST_STEPS = 30
SMOOTH = 4  # neighbours on each side
BELOW = 0.1  # of the lowest loss's rate is proposed
HARDLY, AGAIN = 0.1, 0.2  # shares of the fall: with less of it a rate is too low, with as much lost again too high
ENOUGH = 2.0  # times the first losses end a test
_ROWS, _WIDTH = 24, 40  # of the curve as text


@dataclass(frozen=True)
class RateRange:
    """What a range test measured, and what it says.

    Attributes:
        rates: of the steps, rising by equal factors.
        losses: of the same steps, before each of them.
        smoothed: mean of each loss and its neighbours.
        proposal: a rate to train with; None if the loss fell by no more than it varies.
        lowest: rate at which the smoothed loss was lowest.
        too_low: up to this rate the loss hardly fell; None where nothing is proposed.
        too_high: from this rate on the loss rose again, or was no number; None if it did not, or nothing is proposed.
        broke_at: rate of the step at which the loss or its gradient was no number; None if all were.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    proposal: float | None
    lowest: float
    too_low: float | None
    too_high: float | None
    broke_at: float | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return dict(self.__dict__)

    def words(self) -> str:
        """The proposal, and what is too low and too high, in sentences."""
        if self.proposal is None or self.too_low is None:
            return (
                f"no rate from {self.rates[0]:.3g} to {self.rates[-1]:.3g} lowered the loss by more than it varies "
                "from batch to batch: take a larger train.batch or more --steps, and look at the data"
            )
        why = (
            f"a tenth of {self.lowest:.2g}, where the loss is lowest"
            if BELOW * self.lowest >= self.too_low
            else f"the first that is not too low; the loss is lowest at {self.lowest:.2g}, a tenth of which is too low"
        )
        return (
            f"train.lr={self.proposal:.2g} is proposed, {why}. "
            f"Up to {self.too_low:.2g} the loss hardly falls: too low; {self._above()}."
        )

    def _above(self) -> str:
        """What higher rates do."""
        if self.too_high is None:
            return f"at {self.rates[-1]:.2g}, the highest that was tried, it does not rise yet"
        if self.too_high == self.broke_at:
            return f"at {self.too_high:.2g} it is no number: too high"
        return f"from {self.too_high:.2g} on it rises: too high"

    def to_text(self) -> str:
        """A bar for the loss at every few rates, marked, and the words."""
        every = max(1, math.ceil(len(self.rates) / _ROWS))
        most, least = max(self.smoothed), min(self.smoothed)
        lines = ["    rate      loss"]
        for rate, loss in list(zip(self.rates, self.smoothed, strict=True))[::every]:
            bar = "#" * round(1 + (_WIDTH - 1) * (loss - least) / ((most - least) or 1.0))
            lines.append(f"{rate:8.1e}  {loss:8.4g}  {bar:{_WIDTH}}  {self._mark(rate)}".rstrip())
        return "\n".join([*lines, "", self.words()])

    def _mark(self, rate: float) -> str:
        if self.too_low is None:
            return ""
        if rate <= self.too_low:
            return "too low"
        return "too high" if self.too_high is not None and rate >= self.too_high else ""


def range_test(job: Job, *, steps: int = STEPS) -> RateRange:
    """Trains a job for some steps, from a rate of 1e-6 to one of 10, or to where the loss is twice the first.

    The job is used up: its weights are trained, and its loader is closed.

    Args:
        job: as for `fit`; its schedule, averaged weights and epochs are left out.
        steps: of the whole range, at least 30.

    Raises:
        Diverged: the loss was no number before there were losses enough for a curve.
        Stopped, TimeLimit: the job was asked to stop; nothing is saved.
    """
    factor = (HIGH / LOW) ** (1 / (steps - 1))
    trial = replace(
        job,
        schedule=lambda step: LOW * factor**step,
        epochs=-(-steps // job.steps_per_epoch),
        averaging=None,
        counters=Counters(),
    )
    curve, broke_at = _Curve(steps), None
    try:
        with suppress(_Enough):
            fit(trial, [curve])
    except Diverged as error:
        broke_at, done = trial.schedule(trial.counters.step), len(curve.losses)
        if done < LEAST_STEPS:
            raise Diverged(
                f"the loss or its gradient is no number at a rate of {broke_at:.2g}, step {done + 1} of {steps}, and a "
                f"curve needs {LEAST_STEPS} losses: take more --steps, of which more have lower rates; where that rate "
                "is tiny, look at data.mean and data.std, and at the initial weights by `unpool show init`"
            ) from error
    return read_curve(curve.rates, curve.losses, broke_at=broke_at)


def read_curve(rates: Sequence[float], losses: Sequence[float], *, broke_at: float | None = None) -> RateRange:
    """What losses at rising rates say, at least 30 of them; at a rate after them it may have been no number.

    Example:
        >>> rates = [10.0 ** (number / 10 - 5) for number in range(60)]
        >>> curve = read_curve(rates, [min(2.0, 1 + (number / 10 - 4) ** 2) for number in range(60)])
        >>> round(curve.lowest, 3), curve.proposal
        (0.1, 0.01)
    """
    reaches = [min(SMOOTH, i, len(losses) - 1 - i) for i in range(len(losses))]
    smoothed = [fmean(losses[i - reach : i + reach + 1]) for i, reach in enumerate(reaches)]
    first = losses[: max(2, len(losses) // 10)]
    lowest = min(range(SMOOTH, len(smoothed) - SMOOTH), key=smoothed.__getitem__)  # not at the ends, which are rough
    fall = fmean(first) - smoothed[lowest]
    low = max((i for i in range(lowest) if smoothed[i] > fmean(first) - HARDLY * fall), default=0)
    high = (rates[i] for i in range(lowest, len(smoothed)) if smoothed[i] > smoothed[lowest] + AGAIN * fall)
    is_clear = fall > stdev(first)
    return RateRange(
        list(rates),
        list(losses),
        smoothed,
        float(f"{max(BELOW * rates[lowest], rates[low]):.2g}") if is_clear else None,
        rates[lowest],
        rates[low] if is_clear else None,
        next(high, broke_at) if is_clear else None,
        broke_at,
    )


class _Enough(Exception):
    """The curve is whole."""


class _Curve(Callback):
    """The rate and loss of each step; ends the training after `steps`, or where the loss has grown."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.rates: list[float] = []
        self.losses: list[float] = []

    def after_step(self, job: Job, record: StepRecord) -> None:
        self.rates.append(record.lr)
        self.losses.append(record.loss)
        count = len(self.losses)
        has_grown = count > LEAST_STEPS and fmean(self.losses[-SMOOTH:]) > ENOUGH * fmean(self.losses[: count // 10])
        if count == self.steps or has_grown:
            raise _Enough
