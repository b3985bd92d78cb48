"""The schedule of the learning rate has the length of the run, in the unit in which it is stepped."""

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from tests.checks.small_runs import batches, is_named, net, run, stepped, usual
from unpool.checks.schedules import look_schedule, plan_of

EPOCHS, BATCHES = 30, 12


def scheduled(schedule_of, *, by_batch=False, epochs=EPOCHS):
    """A run with a schedule that is stepped with each batch, or by epochs, outside of the step."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = schedule_of(optimizer)

    def make(setup):
        def step(batch):
            loss = usual(setup)(batch)
            if by_batch:
                schedule.step()
            return loss

        return step

    train = batches(BATCHES)
    return stepped(make, model=model, optimizer=optimizer, schedule=schedule, epochs=epochs, train=train)


RIGHT = {
    "steps by epoch": (lambda o: schedulers.StepLR(o, 10, 0.1), False),
    "cosine by epoch": (lambda o: schedulers.CosineAnnealingLR(o, EPOCHS), False),
    "cosine by batch": (lambda o: schedulers.CosineAnnealingLR(o, EPOCHS * BATCHES), True),
    "one cycle by batch": (lambda o: schedulers.OneCycleLR(o, 0.1, EPOCHS * BATCHES), True),
    "warm-up from zero": (lambda o: schedulers.LambdaLR(o, lambda n: min(1.0, n / 50) * (1 - n / 361)), True),
    "polynomial by batch": (lambda o: schedulers.PolynomialLR(o, EPOCHS * BATCHES, power=0.9), True),
    "restarts on purpose": (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 10), False),
}
WRONG = {
    "steps of epochs by batch": (lambda o: schedulers.StepLR(o, 4, 0.1), True),
    "cosine of epochs by batch": (lambda o: schedulers.CosineAnnealingLR(o, EPOCHS), True),
    "cosine of batches never stepped": (lambda o: schedulers.CosineAnnealingLR(o, EPOCHS * BATCHES), False),
    "one cycle of batches by epoch": (lambda o: schedulers.OneCycleLR(o, 0.1, EPOCHS * BATCHES), False),
    "warm-up of batches by epoch": (lambda o: schedulers.LinearLR(o, 0.01, total_iters=500), False),
    "decay by epoch stepped by batch": (lambda o: schedulers.ExponentialLR(o, 0.9), True),
}


@pytest.mark.parametrize("name", RIGHT)
def test_schedules_that_fit_pass(name):
    schedule_of, by_batch = RIGHT[name]
    assert look_schedule(scheduled(schedule_of, by_batch=by_batch)).verdict == "pass"


@pytest.mark.parametrize("name", WRONG)
def test_schedules_of_another_unit_are_named(name):
    schedule_of, by_batch = WRONG[name]
    assert is_named(look_schedule(scheduled(schedule_of, by_batch=by_batch)), "optim.schedule")


def test_rate_that_ends_early_is_named_without_the_schedule():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def make(setup):
        hidden = schedulers.ExponentialLR(optimizer, 0.5)

        def step(batch):
            loss = usual(setup)(batch)
            hidden.step()
            return loss

        return step

    setup = stepped(make, model=model, optimizer=optimizer, epochs=EPOCHS)
    assert is_named(look_schedule(setup), "optim.schedule")


def test_schedule_of_another_optimiser_is_named():
    other = torch.optim.SGD(net().parameters(), lr=0.1)
    assert is_named(look_schedule(run(schedule=schedulers.StepLR(other, 3))), "optim.schedule")


def test_schedule_that_changes_nothing_in_the_run_is_a_warning():
    finding = look_schedule(scheduled(lambda o: schedulers.StepLR(o, 1000)))
    assert is_named(finding, "optim.schedule", "warn")


def test_schedule_without_the_length_of_the_run_is_not_judged():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    setup = run(model=model, optimizer=optimizer, schedule=schedulers.StepLR(optimizer, 3), epochs=None)
    assert "pass epochs=" in look_schedule(setup).about


def test_plan_is_the_rates_of_the_run_and_leaves_the_schedule_as_it_was():
    setup = scheduled(lambda o: schedulers.StepLR(o, 10, 0.1))
    plan = plan_of(setup)
    assert plan.rates == pytest.approx([0.1] * 10 + [0.01] * 10 + [0.001] * 10)
    assert (setup.schedule.last_epoch, setup.optimizer.param_groups[0]["lr"]) == (0, 0.1)
