"""Residual units as a sum over all paths through or past their branches (Veit et al. 2016, arXiv:1605.06431)."""

from itertools import combinations
from math import comb

import pytest
import torch
from torch import nn

from unpool.layers.preactivation import NormActConv, Preactivated

UNITS = 5


def paths(length):
    return combinations(range(UNITS), length)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_linear_units_are_the_sum_over_all_paths():
    torch.manual_seed(0)
    units = nn.Sequential(*(Preactivated(nn.Conv2d(3, 3, 3, padding=1, bias=False)) for _ in range(UNITS))).double()
    x, total = draw(2, 3, 5, 6), torch.zeros(2, 3, 5, 6, dtype=torch.float64)
    for length in range(UNITS + 1):
        walked = list(paths(length))
        assert len(walked) == comb(UNITS, length)
        for path in walked:
            y = x
            for place in path:
                y = units[place].branch(y)
            total = total + y
    close(total, units(x))


def test_gradient_of_units_with_activations_is_the_sum_over_all_paths():
    """Each path goes back through the branches that it is made of, at the values of the one forward pass."""
    torch.manual_seed(0)
    units = nn.Sequential(*(Preactivated(NormActConv(3, 3)) for _ in range(UNITS))).double().eval()
    inputs, outputs = [], []
    x = image = draw(2, 3, 5, 6).requires_grad_()
    for unit in units:
        inputs.append(x.detach().requires_grad_())
        outputs.append(unit.branch(inputs[-1]))
        x = unit(x)
    weights = draw(2, 3, 5, 6)
    total = torch.zeros_like(weights)
    for length in range(UNITS + 1):
        for path in paths(length):
            gradient = weights
            for place in reversed(path):
                (gradient,) = torch.autograd.grad(outputs[place], inputs[place], gradient, retain_graph=True)
            total = total + gradient
    close(total, torch.autograd.grad(x, image, weights)[0])


@pytest.mark.parametrize("place", [0, 3])
def test_unit_without_its_branch_is_as_good_as_deleted(place):
    torch.manual_seed(0)
    units = nn.Sequential(*(Preactivated(NormActConv(3, 3)) for _ in range(UNITS))).eval()
    nn.init.zeros_(units[place].branch.conv.weight)
    x = torch.randn(2, 3, 5, 6)
    rest = nn.Sequential(*(unit for i, unit in enumerate(units) if i != place))
    assert torch.equal(units(x), rest(x))
