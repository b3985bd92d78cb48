"""Whether the schedule of the learning rate fits the length of the run, and is stepped by its unit."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, ReduceLROnPlateau

from unpool.checks.findings import Check, Finding, Verdict, not_applicable, passed
from unpool.checks.setup import Setup
from unpool.tracing.foreign import foreign_code

MOST = 20_000  # units of a schedule that are looked at
LEAST = 12  # steps, to tell a rate that has run out
FALLEN = 0.01  # of the highest rate: what is left of a rate that has run out
EARLY = 0.5  # of the run, until which it may not have run out


class Plan(NamedTuple):
    """The learning rate of a run as its schedule has it.

    Attributes:
        rates: of the fastest group, one a unit.
        is_by_step: a unit is a batch, else an epoch.
        number: of units in the run; `rates` has fewer where there are very many, or the schedule ends before.
    """

    rates: tuple[float, ...]
    is_by_step: bool
    number: int

    @property
    def peak(self) -> float:
        return max(self.rates)

    @property
    def units(self) -> str:
        return "batches" if self.is_by_step else "epochs"


def plan_of(setup: Setup) -> Plan | None:
    """Steps the schedule through the run without training; None where there is none, or its length is not known."""
    units = setup.train.batches_an_epoch
    if setup.schedule is None or setup.epochs is None or isinstance(setup.schedule, ReduceLROnPlateau):
        return None
    moves = moves_a_batch(setup)
    if moves and units is None:
        return None
    number = round(setup.epochs * (units or 1) * moves) if moves else setup.epochs
    rates = []
    with (
        setup.trying(),
        warnings.catch_warnings(record=True),
    ):  # torch warns where a schedule steps before its optimiser
        for _ in range(max(1, min(MOST, number))):
            rates.append(max(float(group["lr"]) for group in setup.schedule.optimizer.param_groups))
            with foreign_code() as ended:  # some refuse to go on beyond their end
                setup.schedule.step()
            if ended:
                break
    return Plan(tuple(rates), bool(moves), number)


def moves_a_batch(setup: Setup) -> float:
    """How often the author's step moves the schedule on, in the mean of the first batches; 0 where it never does."""
    records = setup.rehearsal.records
    if setup.facts.get("steps_schedule"):
        return 1.0
    if setup.step is None or setup.schedule is None or not records or records[-1].schedule_count is None:
        return 0.0
    return (records[-1].schedule_count - setup.schedule.last_epoch) / len(records)


def look_schedule(setup: Setup) -> Finding:
    """Follows the learning rate through the run, and through the first steps that were taken."""
    early = _gone_in_rehearsal(setup)
    if early is not None:
        return early
    schedule = setup.schedule
    if schedule is None:
        return not_applicable("no schedule is known: pass schedule=, and epochs=")
    if setup.optimizer is not None and schedule.optimizer is not setup.optimizer:
        return _wrong("the schedule belongs to another optimiser, so that the rate of this one never changes", 0.0, ())
    if setup.epochs is None:
        return not_applicable("the length of the run is not known: pass epochs=")
    plan = plan_of(setup)
    if plan is None:
        return not_applicable(f"the rates of {type(schedule).__name__} in this run are not known beforehand")
    return _not_by_batches(setup, plan) or _judged(schedule, plan)


def _judged(schedule: object, plan: Plan) -> Finding:
    """Judges the rates of a run by when they are highest, and when they have run out."""
    rates, number = plan.rates, len(plan.rates)
    curve = f"highest {plan.peak:.3g}, last {rates[-1]:.3g}, over {plan.number} {plan.units}"
    last = max((i for i, rate in enumerate(rates) if rate > FALLEN * plan.peak), default=0) + 1
    share = last / plan.number
    if share < EARLY and last < number:
        about = f"the learning rate falls to less than a hundredth of its height after {100 * share:.0f} % of the run"
        return _wrong(f"{about} ({last} of {plan.number} {plan.units})", share, (curve,))
    period = schedule.T_max if isinstance(schedule, CosineAnnealingLR) else plan.number
    if 2 * period < number:
        times = number / (2 * period)
        about = f"the cosine ends after {period} {plan.units} and rises again, {times:.1f} times in this run"
        return _wrong(about, period / plan.number, (curve,))
    if number > 2 and rates[-1] == plan.peak and rates[-1] > 2 * rates[0]:
        about = f"the learning rate still rises at the end of the run: from {rates[0]:.3g} to {rates[-1]:.3g}"
        return _wrong(about, 1.0, (curve,))
    if number > 2 and min(rates) == plan.peak:
        about = f"the schedule never changes the learning rate of {plan.peak:.3g} in {plan.number} {plan.units}"
        return _wrong(about, 0.0, (curve,), verdict="warn")
    return passed(f"learning rate: {curve}", share)


def _not_by_batches(setup: Setup, plan: Plan) -> Finding | None:
    """A schedule that is as long as the run has batches, and is not moved on by the author's step."""
    schedule, units = setup.schedule, setup.train.batches_an_epoch
    length = None
    if isinstance(schedule, CosineAnnealingLR):
        length = schedule.T_max
    elif isinstance(schedule, OneCycleLR):
        length = schedule.total_steps
    if setup.step is None or plan.is_by_step or length is None or units is None or units < 4:
        return None
    if not 0.5 < length / (units * plan.number) < 2:
        return None
    about = f"the schedule is {length} long, which is the number of batches of the run, and step does not step it"
    return _wrong(about, plan.number / length, (f"{plan.number} epochs of {units} batches",))


def _gone_in_rehearsal(setup: Setup) -> Finding | None:
    """Rates that run out within the first steps of a longer run."""
    rates = [max(record.rates) for record in setup.rehearsal.records if record.rates]
    units = setup.train.batches_an_epoch
    if setup.step is None or len(rates) < LEAST or units is None or (setup.epochs or 1) * units < 2 * len(rates):
        return None
    last = max(i for i, rate in enumerate(rates) if rate >= FALLEN * max(rates)) + 1
    if max(rates) == 0 or last > len(rates) / 2:
        return None
    batches = (setup.epochs or 1) * units
    about = f"the learning rate falls from {max(rates):.3g} to {rates[-1]:.3g} within {last} of {batches} batches"
    return _wrong(
        about,
        last / batches,
        (f"rate at batch 1, {last}, {last + 1}: {rates[0]:.3g}, {rates[last - 1]:.3g}, {rates[last]:.3g}",),
    )


def _wrong(about: str, value: float, evidence: Sequence[str], *, verdict: Verdict = "fail") -> Finding:
    return Finding(
        verdict,
        about,
        value,
        "optim.schedule",
        "count the schedule's length and milestones in the unit in which it is stepped: in batches (epochs "
        "times batches "
        "an epoch) where step() steps it, else in epochs, stepped once an epoch",
        tuple(evidence),
    )


CHECKS = (
    Check(
        "the schedule fits the run",
        "optim",
        {"optim.schedule": "count the schedule's length in the unit in which it is stepped"},
        "The loss stops to fall after the first batches, or the rate never falls and the last percent of the "
        "score is missing.",
        "The schedule is stepped through the whole run without training, by batches where step() steps it, else by "
        "epochs; the rates of the first steps are recorded.",
        f"A failure where the rate falls below a hundredth of its height before {100 * EARLY:.0f} % of the run, "
        "still rises "
        "at its end, rises again after a cosine, or belongs to another optimiser; a warning where it never changes.",
        "Arithmetic; a hundredth and a half are far from every published schedule (step, cosine, polynomial, "
        "one cycle).",
        look_schedule,
        is_quick=True,
    ),
)
