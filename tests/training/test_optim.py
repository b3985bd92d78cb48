import math
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.recipe import Train
from unpool.training import optim
from unpool.training.optim import OPTIMIZERS, build_optimizer, check_weights, set_lr
from unpool.training.schedules import SCHEDULES


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def without_gradient(model: nn.Module, **options) -> None:
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    build_optimizer(model, lr=0.5, **options).step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_leaves_biases_and_norms_alone(name):
    model = small()
    before = {key: value.clone() for key, value in model.named_parameters()}
    without_gradient(model, name=name, weight_decay=0.1)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {"0.weight", "3.weight"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_decay_of_norms_too_moves_every_weight(name):
    model = small()
    start = {key: value.detach().clone() for key, value in model.named_parameters()}
    without_gradient(model, name=name, weight_decay=0.1, decay_norms=True)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, start[key])}
    assert moved == {key for key, value in start.items() if value.any()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_that_is_every_second_row_of_another_tensor_moves_as_any(name):
    layers = [nn.Linear(3, 4), nn.Linear(3, 4)]
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    for layer, weight in zip(layers, (rows[::2].clone(), rows[::2]), strict=True):
        layer.weight = nn.Parameter(weight)
        optimizer = build_optimizer(layer, name=name, lr=0.1)
        for step in range(2):
            layer.weight.grad = torch.arange(12.0).view(4, 3).sub(5 + step)
            optimizer.step()
    torch.testing.assert_close(layers[1].weight, layers[0].weight)


def test_norms_over_several_axes_and_biases_of_maps_are_not_decayed():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.LayerNorm([3, 2, 2]), nn.RMSNorm([3, 2, 2]))
    model.register_parameter("map_bias", nn.Parameter(torch.ones(1, 3, 1, 1)))
    decayed, others = build_optimizer(model, name="sgd", lr=0.1, weight_decay=0.5).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert [tuple(weight.shape) for weight in decayed["params"]] == [(3, 2, 3, 3)]
    assert len(others["params"]) == 4


def test_sgd_decay_is_lr_times_decay_times_weight():
    model = small()
    before = model[0].weight.detach().clone()
    without_gradient(model, name="sgd", weight_decay=0.1)
    torch.testing.assert_close(model[0].weight.detach(), before * (1 - 0.5 * 0.1))


def test_sgd_momentum_adds_nine_tenths_of_the_step_before():
    weight = nn.Linear(1, 1, bias=False)
    start = weight.weight.item()
    optimizer = build_optimizer(weight, name="sgd", lr=1.0, momentum=0.9)
    for _ in range(2):
        weight.weight.grad = torch.ones(1, 1)
        optimizer.step()
    assert weight.weight.item() == pytest.approx(start - 1 - 1.9, abs=1e-6)


def moved(name: str, *, rates, gradients, **options) -> list[float]:
    """How far each step of an optimiser moves one weight of 0."""
    layer = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(layer.weight)
    optimizer, places = build_optimizer(layer, name=name, lr=1.0, **options), [0.0]
    for rate, gradient in zip(rates, gradients, strict=True):
        set_lr(optimizer, rate)
        layer.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
        places.append(layer.weight.item())
    return [after - before for before, after in pairwise(places)]


def test_nesterov_steps_along_the_momentum_that_comes_next():
    expected = [-0.1 * (1 + 0.9), -0.1 * (2 + 0.9 * 2.9), -0.1 * (3 + 0.9 * 5.61)]
    assert moved("nesterov", rates=[0.1] * 3, gradients=[1.0, 2.0, 3.0]) == pytest.approx(expected)


def test_caffes_order_is_sgd_at_one_rate_and_keeps_earlier_steps_at_their_rate():
    steps = {"gradients": [1.0, 2.0, 3.0], "weight_decay": 0.1}
    assert moved("caffe_sgd", rates=[0.1] * 3, **steps) == pytest.approx(moved("sgd", rates=[0.1] * 3, **steps))
    fallen = {name: moved(name, rates=[0.1, 0.1, 0.01], gradients=[1.0, 1.0, 0.0]) for name in ("sgd", "caffe_sgd")}
    assert fallen["sgd"] == pytest.approx([-0.1, -0.19, -0.01 * 0.9 * 1.9])
    assert fallen["caffe_sgd"] == pytest.approx([-0.1, -0.19, -0.9 * 0.19])


def test_step_without_gradients_moves_nothing():
    model = small()
    for name in OPTIMIZERS:
        build_optimizer(model, name=name, lr=0.1).step()
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), small().parameters(), strict=True))


def test_rmsprop_divides_by_the_root_of_the_mean_square_that_it_keeps():
    expected = [-0.1 / math.sqrt(0.2 * 1), -0.1 * 2 / math.sqrt(0.8 * 0.2 + 0.2 * 4)]
    assert moved("rmsprop", rates=[0.1] * 2, gradients=[1.0, 2.0], rms_decay=0.8) == pytest.approx(expected)


def test_recipe_chooses_among_the_optimizers_and_schedules_that_there_are():
    kinds = Train.model_json_schema()["properties"]
    assert kinds["optimizer"]["enum"] == list(OPTIMIZERS)
    assert kinds["schedule"]["enum"] == list(SCHEDULES)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"rmsprop", "caffe_sgd"}))
def test_optimizer_is_fused(name):
    assert build_optimizer(small(), name=name, lr=0.1).defaults["fused"] is True


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_calls_nothing_of_torchs_compiler(name):
    model, files = small(), set()
    sys.setprofile(lambda frame, event, what: files.add(frame.f_code.co_filename))
    try:
        optimizer = build_optimizer(model, name=name, lr=0.1)
        model(torch.zeros(2, 2, 3, 3)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    finally:
        sys.setprofile(None)
    assert {file.rpartition("/torch/")[2] for file in files} & {"optim/optimizer.py", "_compile.py"} == {
        "optim/optimizer.py"
    }
    assert not [file for file in files if "/torch/_dynamo/" in file]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_that_is_not_fused_keeps_no_graph_and_calls_hooks(name, monkeypatch):
    monkeypatch.setattr(optim, "FUSED_ON", ())
    model, steps = small(), []
    optimizer = build_optimizer(model, name=name, lr=0.1)
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    model(torch.zeros(2, 2, 3, 3)).sum().backward()
    optimizer.step()
    assert steps == [1]
    assert all(weight.is_leaf for weight in model.parameters())


def test_frozen_weights_are_not_given_to_the_optimizer():
    model = small()
    model[0].requires_grad_(requires_grad=False)
    groups = build_optimizer(model, name="sgd", lr=0.1).param_groups
    assert sum(len(group["params"]) for group in groups) == 4


def test_network_without_trained_weights_is_refused():
    with pytest.raises(RecipeError, match="no weight that requires a gradient: unfreeze"):
        build_optimizer(small().requires_grad_(requires_grad=False), name="sgd", lr=0.1)


def test_unknown_optimizer_lists_the_known_ones():
    with pytest.raises(ValueError, match="'lamb' is unknown; choose one of sgd, nesterov, caffe_sgd, rmsprop"):
        build_optimizer(small(), name="lamb", lr=0.1)


def test_set_lr_reaches_every_group():
    optimizer = build_optimizer(small(), name="adamw", lr=0.1)
    set_lr(optimizer, 0.7)
    assert [group["lr"] for group in optimizer.param_groups] == [0.7, 0.7]


def test_rate_of_a_group_is_the_rate_times_its_factor_also_after_a_change():
    network = small()
    first, *_ = network.parameters()
    optimizer = build_optimizer(network, name="sgd", lr=0.1, weight_decay=0.5, factors={first: 0.25})
    set_lr(optimizer, 0.8)
    by_weight = {weight: group for group in optimizer.param_groups for weight in group["params"]}
    assert {by_weight[weight]["lr"] for weight in network.parameters() if weight is not first} == {0.8}
    assert (by_weight[first]["lr"], by_weight[first]["weight_decay"]) == (0.2, 0.5)
    assert len(by_weight) == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (small().half(), "weight 0.weight of the network is float16; expected float32: call its float"),
        (small().double(), "is float64"),
        (small().to("meta"), "on device meta"),
        (nn.LazyLinear(2), "has no shape yet"),
    ],
)
def test_weights_from_which_no_training_starts_are_named(model, said):
    with pytest.raises(RecipeError, match=said):
        check_weights(model)
    check_weights(small())
