"""What is said of each activation: where it saturates, what its gradient is, and what that does to a deep network."""

import math

import pytest
import torch
from torch import nn

GRID = torch.arange(-1200, 1201, dtype=torch.float64) / 100  # symmetric, with zero in it
ALPHA = 0.01


def slopes(act, x=GRID):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(act(x).sum(), x)[0]


def first_gradient(act, weights, x):
    """Gradient of the first weight where the answer's direction is of length 1."""
    first = weights[0].clone().requires_grad_()
    for weight in (first, *weights[1:]):
        x = act(weight @ x)
    return torch.autograd.grad(x @ nn.functional.normalize(torch.ones_like(x), dim=0), first)[0]


def ten_layers():
    """Ten He-initialised 32 x 32 layers and an input of length 1."""
    torch.manual_seed(0)
    weights = [torch.randn(32, 32, dtype=torch.float64) / 4 for _ in range(10)]
    return weights, nn.functional.normalize(torch.randn(32, dtype=torch.float64), dim=0)


def test_sigmoid_is_its_formula_and_tanh_a_stretched_one():
    torch.testing.assert_close(torch.sigmoid(GRID), 1 / (1 + (-GRID).exp()), rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.tanh(GRID), 2 * torch.sigmoid(2 * GRID) - 1, rtol=0, atol=1e-12)


def test_sigmoid_is_nowhere_steeper_than_a_quarter():
    slope = slopes(torch.sigmoid)
    assert slope.max().item() == 0.25
    assert GRID[slope.argmax()].item() == 0
    torch.testing.assert_close(slope, torch.sigmoid(GRID) * (1 - torch.sigmoid(GRID)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("act", "steepest"), [(torch.sigmoid, 0.25), (torch.tanh, 1.0)])
def test_sigmoid_and_tanh_saturate_on_both_sides(act, steepest):
    slope = slopes(act)
    assert slope.max().item() == pytest.approx(steepest)
    assert slope[GRID.abs() > 10].max().item() < 1e-4
    assert (slope > 0).all()


def test_ten_sigmoids_leave_the_first_layer_less_than_a_millionth_of_the_weights():
    weights, x = ten_layers()
    norms = math.prod(torch.linalg.matrix_norm(weight, 2).item() for weight in weights[1:])
    bound = 4.0**-10 * norms  # a product of ten slopes, each at most 1/4
    sigmoid = first_gradient(torch.sigmoid, weights, x).norm().item()
    assert 0 < sigmoid <= bound
    assert first_gradient(torch.relu, weights, x).norm().item() > 1e4 * sigmoid


def test_tanh_is_centred_on_zero_and_sigmoid_on_a_half():
    assert torch.equal(torch.tanh(-GRID), -torch.tanh(GRID))
    assert torch.tanh(GRID).mean().item() == pytest.approx(0, abs=1e-12)
    assert torch.sigmoid(GRID).mean().item() == pytest.approx(0.5)
    assert torch.sigmoid(GRID).min().item() > 0


@pytest.mark.parametrize(("act", "is_centred"), [(torch.sigmoid, False), (torch.tanh, True)])
def test_behind_a_sigmoid_all_weights_of_a_unit_move_the_same_way(act, is_centred):
    """The gradient of a weight is the unit's gradient times its input, and a sigmoid's output is never negative."""
    torch.manual_seed(0)
    weight = torch.randn(1, 64).requires_grad_()
    (gradient,) = torch.autograd.grad((weight @ act(torch.randn(64))).sum(), weight)
    assert len(gradient.sign().unique()) == (2 if is_centred else 1)


def test_relu_keeps_the_gradient_where_it_is_positive_and_stops_it_elsewhere():
    assert torch.equal(nn.ReLU()(GRID), GRID.clamp(min=0))
    assert torch.equal(slopes(nn.ReLU()), (GRID > 0).double())


def test_leaky_relu_is_its_formula_and_its_gradient_is_never_zero():
    leaky = nn.LeakyReLU(ALPHA)
    assert nn.LeakyReLU().negative_slope == ALPHA
    assert torch.equal(leaky(GRID), torch.maximum(ALPHA * GRID, GRID))
    away = GRID[GRID != 0]
    assert torch.equal(slopes(leaky, away), torch.where(away < 0, torch.full_like(away, ALPHA), torch.ones_like(away)))
    assert slopes(leaky).min().item() == ALPHA


@pytest.mark.parametrize(("act", "is_dead"), [(nn.ReLU(), True), (nn.LeakyReLU(ALPHA), False)])
def test_unit_that_never_fires_is_dead_under_relu_and_comes_back_under_leaky_relu(act, is_dead):
    torch.manual_seed(0)
    x = torch.rand(100, 4)
    weight, bias = torch.full((4,), -1.0), torch.tensor(-0.5)  # negative for every image
    for _ in range(400):
        weight.requires_grad_()
        bias.requires_grad_()
        loss = (act(x @ weight + bias) - 1).square().mean()
        of_weight, of_bias = torch.autograd.grad(loss, (weight, bias))
        weight, bias = (weight - 0.3 * of_weight).detach(), (bias - 0.3 * of_bias).detach()
    assert (x @ weight + bias > 0).any().item() != is_dead
    assert (bias.item() == -0.5) == is_dead
