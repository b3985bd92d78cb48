"""Each step uses the gradients of its batch once, added up rightly, and seldom shortened."""

import pytest
import torch
from torch import nn

from tests.checks.small_runs import batches, is_named, net, run, stepped, usual
from unpool.checks.stepping import look_accumulated, look_applied, look_clipped, look_zeroed

LOOKS = {"zeroed": look_zeroed, "applied": look_applied, "clipped": look_clipped, "accumulated": look_accumulated}


def in_order(*names):
    """A step that makes its calls in an order."""

    def make(setup):
        def step(batch):
            loss = None
            for name in names:
                if name == "zero":
                    setup.optimizer.zero_grad()
                elif name == "backward":
                    loss = setup.loss(setup.model(batch[0]), batch[1])
                    loss.backward()
                elif name == "step":
                    setup.optimizer.step()
            return loss.detach()

        return step

    return make


def clipped(limit, *, by_value=False):
    def make(setup):
        def step(batch):
            setup.optimizer.zero_grad()
            loss = setup.loss(setup.model(batch[0]), batch[1])
            loss.backward()
            clip = nn.utils.clip_grad_value_ if by_value else nn.utils.clip_grad_norm_
            clip(setup.model.parameters(), limit)
            setup.optimizer.step()
            return loss.detach()

        return step

    return make


def accumulated(number, *, divided=True, zeroed_each=False):
    def make(setup):
        count = 0

        def step(batch):
            nonlocal count
            if zeroed_each:
                setup.optimizer.zero_grad()
            loss = setup.loss(setup.model(batch[0]), batch[1])
            (loss / (number if divided else 1)).backward()
            count += 1
            if count % number == 0:
                setup.optimizer.step()
                setup.optimizer.zero_grad()
            return loss.detach()

        return step

    return make


def scaled(setup):
    """A scaler of gradients, unscaled before they are clipped."""
    scaler = torch.amp.GradScaler("cpu")

    def step(batch):
        setup.optimizer.zero_grad()
        loss = setup.loss(setup.model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        scaler.unscale_(setup.optimizer)
        nn.utils.clip_grad_norm_(setup.model.parameters(), 100.0)
        scaler.step(setup.optimizer)
        scaler.update()
        return loss.detach()

    return step


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(
    "make",
    [usual, in_order("backward", "step", "zero"), clipped(50.0), clipped(1.0), accumulated(3), scaled],
    ids=["usual", "zeroed after", "clipped rarely", "clipped a little", "accumulated", "scaled"],
)
def test_right_steps_pass(look, make):
    assert LOOKS[look](stepped(make)).verdict in ("pass", "not applicable")


@pytest.mark.parametrize("look", ["zeroed", "clipped", "accumulated"])
def test_what_only_a_step_shows_is_not_judged_without_it(look):
    finding = LOOKS[look](run())
    assert finding.verdict == "not applicable"
    assert "pass step=" in finding.about


def test_gradients_that_are_not_zeroed_are_named():
    assert is_named(look_zeroed(stepped(in_order("backward", "step"))), "optim.not_zeroed")


def test_gradients_that_are_zeroed_only_now_and_then_are_named():
    def make(setup):
        count = 0

        def step(batch):
            nonlocal count
            if count % 12 == 0:
                setup.optimizer.zero_grad()
            count += 1
            return in_order("backward", "step")(setup)(batch)

        return step

    assert is_named(look_zeroed(stepped(make)), "optim.not_zeroed")


def test_gradients_zeroed_before_they_are_read_are_named():
    finding = look_applied(stepped(in_order("backward", "zero", "step")))
    assert is_named(finding, "optim.no_step")
    assert "zeroed after backward" in finding.about


def test_optimiser_that_steps_before_backward_is_named():
    assert is_named(look_applied(stepped(in_order("step", "zero", "backward"))), "optim.no_step")


def test_optimiser_that_never_steps_is_named():
    assert is_named(look_applied(stepped(in_order("zero", "backward"))), "optim.no_step")


def test_gradient_that_is_applied_twice_is_named():
    assert is_named(look_applied(stepped(in_order("zero", "backward", "step", "step"))), "optim.twice")


def test_two_optimisers_of_the_same_parameters_are_named():
    def make(setup):
        other = torch.optim.Adam(setup.model[6].parameters(), lr=3e-3)

        def step(batch):
            loss = usual(setup)(batch)
            other.step()
            return loss

        return step

    finding = look_applied(stepped(make))
    assert is_named(finding, "optim.twice")
    assert "two optimisers" in finding.about


def test_two_optimisers_of_two_parts_pass():
    model = net()
    parts = [torch.optim.Adam(part.parameters(), lr=3e-3) for part in (model[:4], model[6])]

    def make(setup):
        def step(batch):
            for part in parts:
                part.zero_grad()
            loss = setup.loss(model(batch[0]), batch[1])
            loss.backward()
            for part in parts:
                part.step()
            return loss.detach()

        return step

    assert look_applied(stepped(make, model=model, optimizer=parts[0])).verdict == "pass"


@pytest.mark.parametrize("make", [clipped(0.005), clipped(1e-4, by_value=True)], ids=["norm", "value"])
def test_clipping_that_always_clips_is_named(make):
    assert look_clipped(stepped(make)).cause == "optim.always_clipped"


def test_clipping_to_a_hundredth_fails():
    assert is_named(look_clipped(stepped(clipped(0.005))), "optim.always_clipped")


def test_clipping_that_always_halves_passes():
    def slow(make, model):
        return stepped(make, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=1e-7), train=batches(1))

    norm = slow(usual, net()).rehearsal.records[0].applied[0].raw_norm
    finding = look_clipped(slow(clipped(norm / 2), net()))
    assert finding.verdict == "pass"
    assert 1 < finding.value < 3


def test_scaled_gradients_that_are_clipped_before_they_are_unscaled_are_named():
    def make(setup):
        scaler = torch.amp.GradScaler("cpu")

        def step(batch):
            setup.optimizer.zero_grad()
            loss = setup.loss(setup.model(batch[0]), batch[1])
            scaler.scale(loss).backward()
            nn.utils.clip_grad_norm_(setup.model.parameters(), 1.0)
            scaler.step(setup.optimizer)
            scaler.update()
            return loss.detach()

        return step

    assert is_named(look_clipped(stepped(make)), "optim.always_clipped")


def test_accumulated_gradients_that_are_not_divided_are_named():
    finding = look_accumulated(stepped(accumulated(4, divided=False)))
    assert is_named(finding, "optim.accumulation")
    assert finding.value == pytest.approx(4, rel=0.2)


def test_divided_gradients_weigh_one():
    assert look_accumulated(stepped(accumulated(4))).value == pytest.approx(1, rel=0.2)


def test_accumulation_that_keeps_the_last_batch_only_is_named():
    finding = look_accumulated(stepped(accumulated(4, zeroed_each=True)))
    assert is_named(finding, "optim.accumulation")
    assert "last" in finding.about


def test_batches_that_are_accumulated_within_one_step_are_judged_too():
    def make(*, divided):
        def of(setup):
            def step(batch):
                setup.optimizer.zero_grad()
                parts = list(zip(batch[0].split(2), batch[1].split(2), strict=True))
                for x, y in parts:
                    loss = setup.loss(setup.model(x), y)
                    (loss / (len(parts) if divided else 1)).backward()
                setup.optimizer.step()
                return loss.detach()

            return step

        return of

    model = net()
    model[1] = nn.GroupNorm(4, 16)
    arguments = {"model": model, "train": batches(12), "optimizer": torch.optim.SGD(model.parameters(), lr=0.01)}
    assert look_accumulated(stepped(make(divided=True), **arguments)).verdict == "pass"
    assert is_named(look_accumulated(stepped(make(divided=False), **arguments)), "optim.accumulation")


def test_looking_changes_nothing():
    setup = stepped(accumulated(4))
    before = {name: value.clone() for name, value in setup.model.state_dict().items()}
    for look in LOOKS.values():
        look(setup)
    assert all(torch.equal(value, before[name]) for name, value in setup.model.state_dict().items())
    assert not setup.optimizer.state
