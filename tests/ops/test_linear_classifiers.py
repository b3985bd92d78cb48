"""Linear classifiers on fixed features: each method's solution, and the choice of the penalty."""

import pytest
import torch

from unpool.errors import RecipeError
from unpool.ops import linear_classifiers
from unpool.ops.linear_classifiers import METHODS, fit_linear


def clouds(count=20, width=6, classes=3, spread=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, width, generator=generator)
    labels = torch.arange(count * classes) % classes
    return centres[labels] + spread * torch.randn(len(labels), width, generator=generator), labels


@pytest.mark.parametrize("width", [6, 90])  # fewer features than images, and more
def test_ridge_is_the_solution_of_the_normal_equations(width):
    features, labels = clouds(10, width)
    normalized = (features.double() - features.double().mean(0)) / features.double().std(0, correction=0)
    targets = 2 * torch.nn.functional.one_hot(labels, 3).double() - 1
    ((weight, bias),) = METHODS["ridge"][0](normalized, targets, [0.1], 0)
    gradient = normalized.T @ (normalized @ weight.T + bias - targets) + 0.1 * 30 * weight.T
    assert gradient.abs().max() < 1e-8
    assert torch.allclose(bias, targets.mean(0))


@pytest.mark.parametrize("width", [6, 90])
def test_svm_has_no_gradient_at_its_solution(width):
    features, labels = clouds(6, width)
    values, targets = features.double(), 2 * torch.nn.functional.one_hot(labels, 3).double() - 1
    for penalty, (weight, bias) in zip([1.0, 0.1], METHODS["svm"][0](values, targets, [1.0, 0.1], 0), strict=True):
        weight, bias = weight.requires_grad_(), bias.requires_grad_()
        margin = targets * (values @ weight.T + bias)
        loss = (1 - margin).clamp_min(0).square().sum() / 18 + penalty / 2 * weight.square().sum()
        gradients = torch.autograd.grad(loss, [weight, bias])
        assert max(float(one.abs().max()) for one in gradients) < 1e-4


@pytest.mark.parametrize("by", METHODS)
def test_classes_that_lie_apart_are_told_apart_with_a_constant_feature_beside(by, monkeypatch):
    monkeypatch.setattr(linear_classifiers, "_STEPS", 100)
    features, labels = clouds(12, 8)
    features = torch.cat([features, torch.full((len(features), 1), 7.0)], 1)
    fit = fit_linear(features, labels, num_classes=3, by=by, penalties=[0.1, 0.001])
    assert ((features @ fit.weight.T + fit.bias).argmax(1) == labels).all()
    assert fit.weight[:, -1].abs().max() < 1e-3
    assert set(fit.accuracy) == {0.1, 0.001}


@pytest.mark.parametrize("by", METHODS)
def test_features_that_hardly_vary_say_little_where_images_are_few(by):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(204) % 2
    features = torch.cat([10.0 * labels[:, None], 0.1 * torch.randn(204, 300, generator=generator)], 1)
    fit = fit_linear(features[:4], labels[:4], num_classes=2, by=by)
    answer = (features[4:] @ fit.weight.T + fit.bias).argmax(1)
    assert (answer == labels[4:]).double().mean() > 0.95


def test_penalty_is_the_one_of_the_best_accuracy_on_what_was_left_out(monkeypatch):
    seen = []

    def solve(features, targets, penalties, seed):
        seen.append((len(features), list(penalties)))
        return linear_classifiers._ridge(features, targets, penalties, seed)

    monkeypatch.setitem(METHODS, "ridge", (solve, (1e-4, 1e9)))
    features, labels = clouds(20, 6, spread=2.0)
    features[labels == 0] += 40  # a penalty of 1e9 hears of this class alone
    fit = fit_linear(features, labels, num_classes=3)
    assert fit.penalty == max(fit.accuracy, key=lambda one: fit.accuracy[one])
    assert [count for count, _ in seen] == [48] * 5 + [60]


def test_no_image_is_in_its_training_part_so_that_noise_has_the_accuracy_of_chance():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(60, 300, generator=generator)
    fit = fit_linear(features, torch.arange(60) % 2, num_classes=2)
    assert all(share < 0.75 for share in fit.accuracy.values())


@pytest.mark.parametrize("penalty", [0.01, 1e3])
def test_probabilities_are_as_sure_as_the_images_left_out_allow(penalty):
    features, labels = clouds(60, 4, classes=2, spread=6.0)
    fit = fit_linear(features, labels, num_classes=2, penalties=[penalty])
    test, truth = clouds(200, 4, classes=2, spread=6.0, seed=0)
    sure = (test @ fit.weight.T + fit.bias).softmax(1)
    is_right = (sure.argmax(1) == truth).float().mean()
    assert abs(float(sure.amax(1).mean() - is_right)) < 0.1
    alone = fit_linear(features, labels, num_classes=2, activation="sigmoid")
    sure = (test @ alone.weight.T + alone.bias).sigmoid()
    assert abs(float(sure.amax(1).mean() - is_right)) < 0.05
    assert alone.weight.norm() > 1.5 * fit.weight.norm()  # of two classes, softmax sees twice the distance


def test_one_image_a_class_chooses_nothing_and_one_class_is_refused():
    features, labels = clouds(1, 6)
    fit = fit_linear(features, labels, num_classes=3)
    assert fit.accuracy == {}
    assert ((features @ fit.weight.T + fit.bias).argmax(1) == labels).all()
    with pytest.raises(RecipeError, match="1 of 3 classes have images"):
        fit_linear(features[:1], labels[:1], num_classes=3)
