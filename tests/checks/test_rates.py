"""The learning rate is judged by the first steps at its multiples, weight decay by what it takes from weights."""

import pytest
import torch

from tests.checks.small_runs import batches, is_named, net, run, stepped, usual
from unpool.checks import rates
from unpool.checks.decay import look_decay
from unpool.checks.rates import look_rate, look_updates, ratios, trial


def rated(kind=torch.optim.Adam, **options):
    model = net()
    return run(model=model, optimizer=kind(model.parameters(), **options), train=batches(30))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.Adam, {"lr": 3e-3}),
        (torch.optim.Adam, {"lr": 3e-4}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    ],
)
def test_usual_rates_pass(kind, options):
    assert look_rate(rated(kind, **options)).verdict == "pass"


@pytest.mark.parametrize(("kind", "options"), [(torch.optim.Adam, {"lr": 1.0}), (torch.optim.SGD, {"lr": 100.0})])
def test_rate_that_is_too_high_is_named(kind, options):
    assert is_named(look_rate(rated(kind, **options)), "optim.rate_high")


def test_loss_that_a_high_rate_makes_a_little_worse_at_first_is_a_warning(monkeypatch):
    setup = rated(torch.optim.SGD, lr=1.0, momentum=0.9)
    assert look_rate(setup).verdict == "fail"
    monkeypatch.setattr(rates, "GROWN", 1e3)
    monkeypatch.setattr(rates, "REPLACED", 10.0)
    assert look_rate(setup).verdict == "warn"


@pytest.mark.parametrize(("kind", "options"), [(torch.optim.Adam, {"lr": 1e-6}), (torch.optim.SGD, {"lr": 1e-5})])
def test_rate_that_is_too_low_is_named(kind, options):
    setup = rated(kind, **options)
    setup.epochs = 1
    assert is_named(look_rate(setup), "optim.rate_low")


def test_low_rate_of_a_long_run_passes():
    setup = rated(torch.optim.SGD, lr=1e-3)
    setup.epochs = 1000
    assert look_rate(setup).verdict == "pass"


def test_warm_up_from_zero_is_judged_by_its_highest_rate():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, n / 100))

    def make(setup):
        def step(batch):
            loss = usual(setup)(batch)
            schedule.step()
            return loss

        return step

    setup = stepped(make, model=model, optimizer=optimizer, schedule=schedule, train=batches(30))
    assert look_rate(setup).verdict == "pass"


def warmed(rate, *, epochs=None, growth=0.01):
    """A run whose first rate is a hundredth of the one that its optimiser's groups name as theirs."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    optimizer.param_groups[0].update(initial_lr=rate, lr=rate * growth)
    return run(model=model, optimizer=optimizer, train=batches(30), epochs=epochs)


def test_warm_up_that_only_the_groups_know_is_judged_by_its_highest_rate():
    assert look_rate(warmed(0.1, growth=1e-5, epochs=1)).verdict == "pass"


@pytest.mark.parametrize("rate", [3.0, 20.0])
def test_rate_that_is_too_high_after_its_warm_up_is_a_warning(rate):
    finding = look_rate(warmed(rate, growth=1e-4))
    assert is_named(finding, "optim.rate_high", "warn")
    assert f"rate of {rate:.3g}" in finding.about


def test_trial_warms_up_in_equal_parts():
    seen = []
    setup = rated(torch.optim.SGD, lr=0.04)
    setup.optimizer.register_step_pre_hook(lambda optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]))
    trial(setup, 0.5, 5, 0.08, warm_up=4)
    assert seen == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.04])


def test_trial_takes_the_steps_at_a_multiple_of_the_rate():
    losses = []
    for rate, factor in ((0.03, 1.0), (0.003, 10.0)):
        losses.append(trial(rated(torch.optim.SGD, lr=rate), factor, 10).losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_ratio_of_an_update_is_its_size_in_parts_of_the_weight():
    setup = rated(torch.optim.SGD, lr=0.1)
    move, size = setup.rehearsal.records[0].moves["6.weight"]
    assert ratios(setup, 1)["6.weight"] == pytest.approx(move / size)
    assert size == pytest.approx(float(setup.model[6].weight.detach().norm()))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}),
        (torch.optim.AdamW, {"lr": 1e-3, "weight_decay": 0.01}),
        (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 1e-4}),
        (torch.optim.SGD, {"lr": 0.1}),
    ],
)
def test_usual_decay_passes(kind, options):
    assert look_decay(rated(kind, **options)).verdict == "pass"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
        (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 5.0}),
        (torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 5.0}),
    ],
)
def test_decay_that_is_far_too_strong_is_named(kind, options):
    assert is_named(look_decay(rated(kind, **options)), "optim.decay_on_norms")


def test_strong_decay_on_norms_is_a_warning_and_passes_in_a_group_without_it():
    assert is_named(look_decay(rated(torch.optim.AdamW, lr=1e-3, weight_decay=0.1)), "optim.decay_on_norms", "warn")
    model = net()
    flat = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": [w for w in model.parameters() if w.dim() > 1]}, {"params": flat, "weight_decay": 0.0}]
    setup = run(model=model, optimizer=torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1))
    assert look_decay(setup).verdict == "pass"


def test_updates_of_a_healthy_run_pass():
    finding = look_updates(rated(torch.optim.Adam, lr=3e-3))
    assert finding.verdict == "pass"
    assert 1e-3 < finding.value < 0.3


def test_layer_whose_updates_float32_loses_is_named():
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 3e-2}, {"params": model[6].parameters(), "lr": 1e-8}]
    finding = look_updates(run(model=model, optimizer=torch.optim.SGD(groups, lr=3e-2)))
    assert is_named(finding, "optim.rate_low", "warn")
    assert finding.evidence[0].startswith("6.weight")


def test_first_updates_of_a_warm_up_say_nothing_of_later_ones():
    setup = warmed(0.1, growth=1e-8)
    finding = look_updates(setup)
    assert (finding.verdict, finding.value < 1e-3) == ("pass", True)
    setup.optimizer.param_groups[0].pop("initial_lr")
    assert is_named(look_updates(setup), "optim.rate_low", "warn")
