"""A frozen norm is a fixed scale and shift, whatever is trained around it."""

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.layers.frozen import freeze_norms, hold_frozen


def network(norms="frozen"):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    norm = body[1]
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    freeze_norms(body, norms)
    return body


def test_frozen_norm_is_the_same_in_training_and_keeps_its_tensors():
    body, image = network(), torch.rand(2, 3, 8, 8)
    before = {name: tensor.clone() for name, tensor in body[1].state_dict().items()}
    expected = body.eval()(image)
    hold_frozen(body.train())
    assert torch.equal(body(image), expected)
    body(image).sum().backward()
    assert all(torch.equal(body[1].state_dict()[name], tensor) for name, tensor in before.items())
    assert [name for name, _ in body.named_parameters()] == ["0.weight", "0.bias"]
    assert set(before) == set(nn.BatchNorm2d(4).state_dict())


def test_frozen_norm_is_its_formula():
    body, x = network(), torch.rand(2, 4, 5, 5)
    norm = body[1]
    mean, variance, scale, shift = (
        t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt() * scale + shift)


def test_nothing_is_added_to_the_variance_where_it_is_asked_for():
    norm, x = network("frozen_no_eps")[1], torch.rand(2, 4, 5, 5)
    norm.running_var.fill_(1e-5)
    mean, scale, shift = (t[:, None, None] for t in (norm.running_mean, norm.weight, norm.bias))
    torch.testing.assert_close(norm(x), (x - mean) / 1e-5**0.5 * scale + shift, rtol=1e-4, atol=1e-2)


def test_trained_norms_stay_as_they_are():
    body = network("trained").train()
    hold_frozen(body)
    assert body[1].training
    assert len(list(body.parameters())) == 4


def test_norm_without_parameters_from_the_start_is_not_taken_for_a_frozen_one():
    body = nn.Sequential(nn.BatchNorm2d(4, affine=False)).train()
    hold_frozen(body)
    assert body[0].training


def test_activation_inside_of_a_packages_norm_is_kept():
    layers = pytest.importorskip("timm").layers
    norm = layers.BatchNormAct2d(4)
    freeze_norms(norm, "frozen")
    assert norm(torch.randn(2, 4, 6, 6)).min() == 0
    assert not list(norm.parameters())


def test_unknown_word_is_refused():
    with pytest.raises(RecipeError, match="norms is 'frosen'; it must be one of trained, frozen, frozen_no_eps"):
        freeze_norms(nn.BatchNorm2d(2), "frosen")
