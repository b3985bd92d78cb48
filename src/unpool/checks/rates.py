"""Whether the learning rate is within a decade of those that make the loss fall fastest."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from unpool.checks.findings import Check, Finding, not_applicable, passed
from unpool.checks.rehearsal import cycled, take_step
from unpool.checks.schedules import plan_of
from unpool.checks.setup import Setup
from unpool.tracing.foreign import foreign_code

STEPS, LEAST, SHARE = 30, 12, 0.5  # of each rate at most and at least; of the time that is left
TRIALS, WARM_TRIALS = 4, 6  # that one look takes at most, and where the run warms up
WARMED = 0.1  # of the highest rate: a run that begins below it warms up
REPLACED = (
    0.25  # of a layer's size that one update may change: above it the weights of the start are lost in some steps
)
GROWN = 1.5  # times the first loss
FIRST = 5  # steps in which updates are compared with weights that are still those of the start
LOST = 2.0**-24  # of a weight: what float32 cannot add to it
SURE = 0.85  # of the batches that have a lower loss: 13 of 15, by chance one in 270


class Trial(NamedTuple):
    """The first steps at one multiple of the learning rate.

    Attributes:
        factor: of the rate of the run.
        losses: of each step, before it; as many as steps were planned, the last ones not a number where one failed.
    """

    factor: float
    losses: tuple[float, ...]

    @property
    def last(self) -> tuple[float, ...]:
        """The second half of the losses."""
        return self.losses[-max(3, len(self.losses) // 2) :]

    def level(self) -> float:
        """Mean loss of the second half; infinite where it left the numbers."""
        return fmean(self.last) if all(map(math.isfinite, self.losses)) else math.inf

    def is_below(self, other: "Trial") -> bool:
        """Whether the loss is lower by more than chance, batch by batch; sizes do not count, as some are huge."""
        if not math.isfinite(self.level()) or not math.isfinite(other.level()):
            return math.isfinite(self.level())
        gaps = [b - a for a, b in zip(self.last, other.last, strict=True)]
        return fmean(gap > 0 for gap in gaps) >= SURE and fmean(gaps) > 1e-6 * abs(self.level())


def look_rate(setup: Setup) -> Finding:
    """Takes the first steps at a tenth of the rate, at ten times and at a hundred times of it."""
    rehearsal = setup.rehearsal
    if setup.optimizer is None or not rehearsal.changed:
        return not_applicable("no optimiser changes the weights: pass optimizer=, and see the other checks")
    steps = _steps(setup)
    if steps < LEAST:
        return not_applicable(f"there is time for {steps} steps at each rate, too few to compare them")
    if not math.isfinite(rehearsal.losses[0]):
        return not_applicable("the first loss is no number")
    return _too_high(setup, steps) or _too_high_once_warm(setup, steps) or _too_low(setup, steps)


def _too_high(setup: Setup, steps: int) -> Finding | None:
    """A rate of which the tenth is better already in the first steps, and that loses the weights of the start."""
    usual, tenth = Trial(1.0, _padded(setup.rehearsal.losses, steps)), trial(setup, 0.1, steps)
    moved = median(ratios(setup, FIRST).values() or [0.0])
    first = usual.losses[0]
    has_grown = usual.level() > GROWN * abs(first) and tenth.level() < first
    if not has_grown and not (tenth.is_below(usual) and (moved > REPLACED or usual.level() > first)):
        return None
    rate = max(setup.rehearsal.records[0].rates, default=0.0)
    return Finding(
        "fail" if moved > REPLACED or (has_grown and not _warms_up(setup)) else "warn",
        f"the learning rate of {rate:.3g} is too high: after {steps} steps the loss is {usual.level():.3g}, and "
        f"{tenth.level():.3g} at a tenth of the rate",
        moved,
        "optim.rate_high",
        f"lower the learning rate to about {rate / 10:.2g}; rates of SGD are ten to a hundred times those of Adam",
        (
            f"each of the first {FIRST} steps changes the median layer by {100 * moved:.0f} % of its size; 0.1 "
            "to 1 % is usual",
        ),
    )


def _too_high_once_warm(setup: Setup, steps: int) -> Finding | None:
    """A rate to which a warm-up leads, of which a part is better where both are warmed up in half of the steps."""
    peak = _peak_of(setup)
    if peak is None or not _warms_up(setup):
        return None
    first = setup.rehearsal.losses[0]
    usual = trial(setup, 1.0, steps, peak, warm_up=steps // 2)
    if usual.level() <= GROWN * abs(first):
        return None
    lower = (trial(setup, factor, steps, peak, warm_up=steps // 2) for factor in (0.1, 0.01))
    best = next((one for one in lower if one.level() < first and one.is_below(usual)), None)
    if best is None:
        return None
    return Finding(
        "warn",
        f"the learning rate of {peak:.3g}, to which the run warms up, may be too high: warmed up in {steps // 2} steps "
        f"the loss is {usual.level():.3g} where it was {first:.3g}, and {best.level():.3g} at {best.factor:g} of it",
        usual.level() / first,
        "optim.rate_high",
        f"compare a run at {best.factor * peak:.2g}; rates of SGD are ten to a hundred times those of Adam",
    )


def _warms_up(setup: Setup) -> bool:
    """Whether the first rate is a small part of the highest one, so that first updates say nothing of later ones."""
    peak = _peak_of(setup)
    return peak is not None and max(setup.rehearsal.records[0].rates, default=0.0) <= WARMED * peak


def _peak_of(setup: Setup) -> float | None:
    """The highest rate of the run, as its schedule or the optimiser's groups know it; None where nothing says it."""
    plan = plan_of(setup)
    if plan is not None:
        return plan.peak
    groups = [] if setup.optimizer is None else setup.optimizer.param_groups
    rates = [float(group["initial_lr"]) for group in groups if "initial_lr" in group]  # schedules note it there
    return max(rates) if rates and max(rates) > max(float(group["lr"]) for group in groups) else None


def _too_low(setup: Setup, steps: int) -> Finding:
    """A rate at which the run ends before it gets where a hundred times of it gets in the first steps."""
    peak = _peak_of(setup)
    low, usual, ten = (trial(setup, factor, steps, peak) for factor in (0.1, 1.0, 10.0))
    rate = peak or max(setup.rehearsal.records[0].rates, default=0.0)
    moved = median(ratios(setup, len(setup.rehearsal.records)).values() or [0.0])
    about = f"after {steps} steps at 0.1, 1 and 10 times the rate of {rate:.3g}, the loss is "
    about += ", ".join(f"{one.level():.3g}" for one in (low, usual, ten))
    if not ten.is_below(usual):
        return passed(about, moved)
    hundred = trial(setup, 100.0, steps, peak)
    gain = (low.level() - usual.level()) / 0.9  # of the run's rate: nearly linear where it is too low
    least = ten.level() - hundred.level()
    units = setup.train.batches_an_epoch
    rounds = 20.0 if setup.epochs is None or units is None else max(1.0, setup.epochs * units / steps)
    if not hundred.is_below(ten) or gain * rounds > 0.5 * (gain + usual.level() - hundred.level()):
        return passed(f"{about}; {hundred.level():.3g} at 100 times", moved)
    return Finding(
        "fail",
        f"the learning rate of {rate:.3g} is too low: {about}, and {hundred.level():.3g} at 100 times",
        moved,
        "optim.rate_low",
        f"raise the learning rate to {10 * rate:.2g} or {100 * rate:.2g}, and compare",
        (
            f"a step changes the median layer by {100 * moved:.2g} % of its size; 0.1 to 1 % is usual",
            f"at this pace the {rounds * steps:.0f} steps of the run gain {max(0.0, gain * rounds):.2g} of the "
            "loss, which "
            f"100 times the rate gains {usual.level() - hundred.level():.2g} of in {steps}"
            if least > 0
            else "",
        ),
    )


def _padded(losses: Sequence[float], steps: int) -> tuple[float, ...]:
    return (*losses[:steps], *[math.nan] * (steps - len(losses)))


def trial(setup: Setup, factor: float, steps: int, peak: float | None = None, *, warm_up: int = 0) -> Trial:
    """Takes the first steps of the run at a multiple of its rate, or of a peak, from the weights as they are.

    The multiple is reached after `warm_up` steps, in equal parts.
    """
    with setup.trying(training=True), _rates_times(factor, peak, warm_up):
        return Trial(factor, _padded(list(_losses(setup, steps)), steps))


def _steps(setup: Setup) -> int:
    """How many steps of each rate there is time for."""
    seconds = [record.seconds for record in setup.rehearsal.records]
    each = median(seconds) if seconds else math.inf
    trials = WARM_TRIALS if _warms_up(setup) else TRIALS
    return min(STEPS, len(seconds), int(setup.budget.share_s(SHARE) / (trials * max(each, 1e-6))))


def _losses(setup: Setup, steps: int) -> Iterator[float]:
    for batch in islice(cycled(setup, steps), steps):
        with foreign_code() as failure:
            yield float(take_step(setup, batch))
        if failure:
            yield math.nan
            return


@contextmanager
def _rates_times(factor: float, peak: float | None, warm_up: int = 0) -> Iterator[None]:
    """All optimisers step with a multiple of their rates, or of a peak in place of the fastest group's.

    The rates are put back after each step, so that schedules and the author's code see those that they set.
    """
    kept: dict[int, list[Any]] = {}
    taken: Counter[int] = Counter()

    def before(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        kept[id(optimizer)] = [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]
        highest = max(map(float, rates))
        taken[id(optimizer)] += 1
        now = factor * min(1.0, taken[id(optimizer)] / max(warm_up, 1))
        scale = now * (peak / highest if peak is not None and highest > 0 else 1.0)
        for group in optimizer.param_groups:
            _set(group, float(group["lr"]) * scale if highest > 0 or peak is None else peak * now)

    def after(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        for group, rate in zip(optimizer.param_groups, kept[id(optimizer)], strict=True):
            _set(group, rate)

    handles = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _set(group: dict[str, Any], rate: Any) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(rate))
    else:
        group["lr"] = rate


def ratios(setup: Setup, steps: int) -> dict[str, float]:
    """Per weight, the median over steps that change it of the size of an update in parts of the weight's size."""
    matrices = [name for name, weight in setup.model.named_parameters() if weight.dim() > 1]
    moves = {name: [record.moves[name] for record in setup.rehearsal.records[:steps]] for name in matrices}
    parts = {name: [move / size for move, size in pairs if size > 0 and move > 0] for name, pairs in moves.items()}
    return {name: median(values) for name, values in parts.items() if values}


def look_updates(setup: Setup) -> Finding:
    """Compares the size of each layer's updates with the size of its weights."""
    if not setup.rehearsal.records:
        return not_applicable(f"no step could be taken: {setup.rehearsal.failure}")
    parts = ratios(setup, len(setup.rehearsal.records))
    if not parts:
        return not_applicable("no weight of a layer changes in the first steps")
    ordered = sorted(parts.items(), key=lambda one: one[1])
    lost = [(name, part) for name, part in ordered if part < LOST and not _warms_up(setup)]
    (slowest, low), (fastest, high) = (lost or ordered)[0], ordered[-1]
    about = f"a step changes layers by {low:.2g} ({slowest}) to {high:.2g} ({fastest}) of their size"
    if lost:
        evidence = tuple(f"{name}: {part:.2g}" for name, part in lost[:8])
        cure = "raise the learning rate of these layers, or look why so small a gradient reaches them"
        return Finding("warn", f"{about}: less than float32 can add", low, "optim.rate_low", cure, evidence)
    return passed(about, high)


CHECKS = (
    Check(
        "updates fit the weights, by layer",
        "optim",
        {"optim.rate_low": "raise the learning rate of the layers that are named"},
        "Some layers stay as they were drawn, while others learn.",
        "For each weight of two or more axes, the median over steps of the norm of its update, in parts of its norm.",
        f"A warning below 2^-24, unless the run begins below {100 * WARMED:.0f} % of its highest rate. Updates "
        "that are too large are judged by the range test.",
        "Arithmetic: float32 has 24 bits. Measured on healthy runs: 0.003 to 0.06.",
        look_updates,
        is_quick=True,
        is_watched=True,
    ),
    Check(
        "the learning rate is within a decade",
        "optim",
        {
            "optim.rate_high": "lower the learning rate to a tenth",
            "optim.rate_low": "raise the learning rate ten to a hundred times",
        },
        "The loss swings, grows or stays; or it falls so slowly that the run ends before anything is learned.",
        "The first steps, on the same batches from the same weights, at 0.1, 1, 10 and 100 times the rate (of the "
        "highest rate of the schedule); and the size of each update in parts of the weights of its layer.",
        f"A failure as too high where a tenth of the rate is better already and the loss has grown to {GROWN:g} times "
        "the first one, or one update changes the median layer by more than "
        f"{100 * REPLACED:.0f} %; a warning where it has grown less, or the run warms up. A failure as too low "
        "where 100 times is better than 10 times, and "
        "10 times than once, and the whole run at this pace gains less than half of what 100 times gains at once. A "
        f"warning where a run begins below {100 * WARMED:.0f} % of its highest rate, and after a warm-up in half of "
        "these steps the loss is "
        f"{GROWN:g} times the first one at that rate, and below it at a tenth or a hundredth.",
        "Smith 2017, arXiv:1506.01186, section 3.3 (the range test). Measured on healthy runs: the best rate of "
        "the first "
        "steps is 1 to 10 times that of the recipe, 100 times is worse, and updates are 0.4 to 4 % of a layer.",
        look_rate,
    ),
)
