"""After anything was tried, model, optimiser, schedule and generators are as they were, bit for bit."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from unpool.checks.restoring import unchanged

OPTIMIZERS = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda weights: torch.optim.AdamW(weights, lr=0.01, amsgrad=True),
    "rate in a tensor": lambda weights: torch.optim.Adam(weights, lr=torch.tensor(0.01)),
}


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.rand(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()


def drawing_then_failing():
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    raise KeyError


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2))


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_everything_is_as_it_was_and_training_goes_on_as_if_nothing_had_been(name, steps_before):
    def trained(*, tried: bool) -> list[torch.Tensor]:
        model = net()
        model[4].weight.requires_grad = False
        optimizer = OPTIMIZERS[name](model.parameters())
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        for _ in range(steps_before):
            step(model, optimizer)
            schedule.step()
        if tried:
            with unchanged(model, optimizer=optimizer, schedule=schedule):
                model.eval()
                model[4].weight.requires_grad = True
                optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
                for _ in range(3):
                    step(model, optimizer)
                    schedule.step()
                optimizer.param_groups[0]["lr"] = 7.0
        step(model, optimizer)
        schedule.step()
        rate = optimizer.param_groups[0]["lr"]
        assert model.training
        assert len(optimizer.param_groups) == 1
        return [*(value.clone() for value in model.state_dict().values()), torch.as_tensor(float(rate))]

    for one, other in zip(trained(tried=True), trained(tried=False), strict=True):
        assert torch.equal(one, other)


def test_gradients_are_those_from_before_in_the_same_tensors():
    model = net()
    model(torch.rand(4, 3, 8, 8)).sum().backward()
    grad = model[0].weight.grad
    before = grad.clone()
    with unchanged(model):
        model(torch.rand(4, 3, 8, 8)).sum().backward()
        model.zero_grad(set_to_none=True)
    assert model[0].weight.grad is grad
    assert torch.equal(grad, before)


def test_generators_go_on_where_they_were_also_after_an_error():
    drawn, model = [], net()
    for tried in (True, False):
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002
        random.seed(1)
        if tried:
            with pytest.raises(KeyError), unchanged(model):
                drawing_then_failing()
        drawn.append((float(torch.rand(1)), float(np.random.rand()), random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


def test_weights_that_only_the_optimiser_holds_are_put_back():
    extra = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([extra], lr=1.0)
    before = copy.deepcopy(extra.data)
    with unchanged(net(), optimizer=optimizer):
        extra.grad = torch.ones(2)
        optimizer.step()
    assert torch.equal(extra.data, before)
    assert extra.grad is None
