"""Learning rate as a pure function of the number of steps already taken.

Sources: cosine, Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts; poly, Chen et al. 2017
(arXiv:1606.00915); onecycle, Smith and Topin 2018 (arXiv:1708.07120), with cosine instead of linear flanks and the
momentum left alone; cycles, Izmailov et al. 2018 (arXiv:1803.05407), section 3.1.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

from unpool.errors import RecipeError, quoted

Schedule = Callable[[int], float]

SCHEDULES = ("constant", "step", "cosine", "poly", "onecycle", "plateau")
CYCLE_END = 0.2  # share of the first rate of a cycle that its last step has
ONECYCLE_RISE = 0.3  # share of the steps spent rising where no warm-up is given
ONECYCLE_START = 25.0  # the first rate is the peak divided by this
ONECYCLE_END = 250_000.0  # the last one is the peak divided by this


def build_schedule(
    name: str,
    *,
    lr: float,
    total_steps: int,
    warmup_steps: int = 0,
    milestones: Sequence[int] = (),
    gamma: float = 0.1,
    power: float = 0.9,
) -> Schedule:
    """The rate at each step from 0 to `total_steps - 1`; later steps keep the last rate.

    Args:
        name: one of SCHEDULES.
        lr: the highest rate.
        total_steps: steps of the whole run.
        warmup_steps: steps of a linear rise to `lr`; for "onecycle" the length of its own rise.
        milestones: for "step", the steps at which the rate is multiplied by `gamma`.
        gamma: for "step".
        power: for "poly", lr (1 - t)^power.

    Raises:
        RecipeError: unknown name, or a warm-up that leaves no step.
    """
    if name not in SCHEDULES:
        raise RecipeError(f"schedule {quoted(name)} is unknown; choose one of {', '.join(SCHEDULES)}")
    if total_steps < 1 or not 0 <= warmup_steps < total_steps:
        raise RecipeError(
            f"warm-up takes {warmup_steps} of {total_steps} steps; at least one step must follow it: "
            "lower warmup_epochs or raise epochs"
        )
    if name == "onecycle":
        rise = warmup_steps or max(1, round(ONECYCLE_RISE * total_steps))
        return partial(_onecycle, lr, total_steps, rise)
    shapes: dict[str, Schedule] = {
        "constant": lambda step: 1.0,
        "plateau": lambda step: 1.0,  # lowered by what is measured, see `patience`
        "step": lambda step: gamma ** bisect_right(sorted(milestones), step),
        "cosine": lambda step: 0.5 * (1 + math.cos(math.pi * _share(step, warmup_steps, total_steps))),
        "poly": lambda step: (1 - _share(step, warmup_steps, total_steps)) ** power,
    }
    return partial(_with_warmup, shapes[name], lr, warmup_steps, last=total_steps - 1)


def with_cycles(schedule: Schedule, *, start: int, lr: float | None, cycle: int | None) -> Schedule:
    """The schedule up to step `start`, and from there a constant rate, or one that falls linearly in each cycle.

    Args:
        schedule: of the whole run.
        start: first step of the other part.
        lr: its rate, or the highest of a cycle, which ends at a fifth of it; None keeps the rate of `start`.
        cycle: steps of a cycle; None keeps the rate.

    Example:
        >>> rate = with_cycles(lambda step: 0.1, start=2, lr=0.05, cycle=4)
        >>> [round(rate(step), 3) for step in range(8)]
        [0.1, 0.1, 0.04, 0.03, 0.02, 0.01, 0.04, 0.03]
    """

    def rate(step: int) -> float:
        if step < start:
            return schedule(step)
        top = schedule(start) if lr is None else lr
        share = 0.0 if cycle is None else ((step - start) % cycle + 1) / cycle
        return (1 - share) * top + share * CYCLE_END * top

    return rate


def _with_warmup(shape: Schedule, lr: float, warmup_steps: int, step: int, *, last: int) -> float:
    if step < warmup_steps:
        return lr * (step + 1) / (warmup_steps + 1)
    return lr * shape(min(step, last))


def _share(step: int, start: int, end: int) -> float:
    return (step - start) / (end - start)


def _onecycle(lr: float, total_steps: int, rise: int, step: int) -> float:
    step = min(step, total_steps - 1)
    if step < rise:
        return _cosine_between(lr / ONECYCLE_START, lr, step / rise)
    return _cosine_between(lr, lr / ONECYCLE_END, (step - rise) / max(1, total_steps - 1 - rise))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
