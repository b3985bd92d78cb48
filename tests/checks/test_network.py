"""What is wrong with a network and its first weights is named; odd networks that are right pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.small_setups import PASS, classes, drawn, masks, numbers, seen, setup, small_map, small_net
from unpool.checks.activations import look_dead_units, look_output_at_start, look_saturated, look_variance
from unpool.checks.symmetry import look_symmetric
from unpool.checks.wiring import look_broadcast, look_checkerboard, look_gradients, look_output_size

CE = nn.CrossEntropyLoss()


def deep(std: float | None, depth: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.ReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight) if std is None else nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize("std", [0.01, 1.5])
def test_activations_that_vanish_or_explode_with_depth_are_named(std):
    assert seen(look_variance, setup(deep(std), classes())) == {("fail", "network.variance")}


def test_layers_by_he_and_by_the_default_rule_keep_their_size():
    torch.manual_seed(0)
    default = [nn.Sequential(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1), nn.ReLU()) for i in range(8)]
    for net in (deep(None), nn.Sequential(*default), small_net(norm=nn.BatchNorm2d)):
        assert seen(look_variance, setup(net, classes())) == PASS


def test_a_norm_behind_each_layer_makes_their_size_no_matter():
    net = small_net(norm=nn.BatchNorm2d)
    nn.init.normal_(net[3].weight, std=1e6)
    assert seen(look_variance, setup(net, classes())) == PASS
    plain = small_net()
    nn.init.normal_(plain[2].weight, std=1e6)
    assert seen(look_variance, setup(plain, classes())) == {("fail", "network.variance")}


def test_units_that_never_fire_are_named_and_rare_ones_are_not():
    net = small_net()
    nn.init.constant_(net[0].bias, -50.0)
    assert seen(look_dead_units, setup(net, classes())) == {("fail", "network.dead_units")}
    net = small_net()
    net[0].bias.data[:3] = -50.0
    assert seen(look_dead_units, setup(net, classes())) == PASS


def test_unit_that_fires_in_a_later_batch_is_alive():
    net = small_net()
    nn.init.constant_(net[0].bias, -50.0)
    late = classes(batches=4)
    late[3] = (late[3][0] * 1000, late[3][1])
    assert seen(look_dead_units, setup(net, late)) == PASS


def test_relu_on_class_scores_is_named_and_on_pictures_is_not():
    net = nn.Sequential(*small_net(), nn.ReLU())
    assert seen(look_dead_units, setup(net, classes(), CE)) == {("fail", "network.dead_units")}
    pictures = [(image, image.abs()) for image, _ in classes()]
    net = nn.Sequential(*small_map(3), nn.ReLU())
    assert seen(look_dead_units, setup(net, pictures, nn.MSELoss())) == PASS


@pytest.mark.parametrize("function", [nn.Tanh, nn.Sigmoid])
def test_squashing_units_in_their_flat_part_are_named(function):
    net = small_net()
    net[1] = function()
    assert seen(look_saturated, setup(net, classes())) == PASS
    nn.init.normal_(net[0].weight, std=20.0)
    assert seen(look_saturated, setup(net, classes())) == {("fail", "network.saturated")}


def test_sure_probabilities_of_a_trained_network_are_not_saturated():
    net = nn.Sequential(*small_net(1), nn.Sigmoid())
    net[-2].weight.data *= 1000
    assert ("fail", "network.saturated") not in seen(look_saturated, setup(net, classes()))


def test_first_loss_far_above_that_of_a_guess_is_named():
    net = small_net()
    assert seen(look_output_at_start, setup(net, classes(), CE)) == PASS
    net[-1].bias.data[0] = 4.2
    assert seen(look_output_at_start, setup(net, classes(), CE)) == {("warn", "network.output_at_start")}
    net[-1].bias.data[0] = 30.0
    assert seen(look_output_at_start, setup(net, classes(), CE)) == {("fail", "network.output_at_start")}


def test_weights_that_start_and_stay_equal_are_named():
    net = small_net()
    for layer in net:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.constant_(layer.weight, 0.02)
            nn.init.zeros_(layer.bias)
    assert seen(look_symmetric, setup(net, classes(), CE)) == {("fail", "network.symmetric")}


def test_last_layer_of_zeros_comes_apart():
    net = small_net()
    nn.init.zeros_(net[-1].weight)
    assert seen(look_symmetric, setup(net, classes(), CE)) == PASS


def test_equal_units_that_come_apart_are_a_warning():
    net = small_net()
    nn.init.constant_(net[2].weight, 0.02)
    assert seen(look_symmetric, setup(net, classes(), CE)) == {("warn", "network.symmetric")}


class Branched(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second, self.head = small_net(4), small_net(4), nn.Linear(4, 3)
        self.listed = [nn.Linear(4, 4)]

    def forward(self, x):
        features = self.first(x)
        if self.kind == "both":
            features = features + self.second(x)
        if self.kind == "cut":
            features = features + self.second(x).detach()
        if self.kind == "rounded":
            features = self.second(x).round() + features
        if self.kind == "zeroed":
            features = features + 0.0 * self.second(x)
        if self.kind == "listed":
            features = self.listed[0](features + self.second(x))
        return self.head(features)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("one", "network.unused_layer"),
        ("cut", "network.no_gradient"),
        ("rounded", "network.no_gradient"),
        ("zeroed", "network.no_gradient"),
        ("listed", "network.unused_layer"),
    ],
)
def test_parameters_without_a_gradient_are_named_with_the_reason(kind, cause):
    assert seen(look_gradients, setup(Branched(kind), classes(), CE)) == {("fail", cause)}


def test_every_parameter_of_a_right_network_has_a_gradient():
    assert seen(look_gradients, setup(Branched("both"), classes(), CE)) == PASS


def test_frozen_backbone_and_a_step_that_zeroes_last_are_right():
    net = Branched("both")
    net.first.requires_grad_(requires_grad=False)
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)

    def step(batch):
        loss = CE(net(batch[0]), batch[1])
        loss.backward()
        sgd.step()
        sgd.zero_grad()
        return loss

    assert seen(look_gradients, setup(net, classes(), CE, step=step, optimizer=sgd)) == PASS


def test_unused_classifier_of_a_backbone_is_a_warning():
    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = small_net(10), nn.Linear(12, 3)

        def forward(self, x):
            return self.head(self.backbone[:-1](x))

    assert seen(look_gradients, setup(Whole(), classes(), CE)) == {("warn", "network.unused_layer")}


def test_network_of_which_nothing_is_trained_is_named():
    assert seen(look_gradients, setup(small_net().requires_grad_(requires_grad=False), classes(), CE)) == {
        ("fail", "norm.frozen")
    }


def test_loss_without_a_gradient_is_named():
    def loss(outputs, labels):
        return (outputs.argmax(1) != labels).float().mean()

    assert seen(look_gradients, setup(small_net(), classes(), loss)) == {("fail", "network.no_gradient")}


def test_column_against_row_is_named_and_equal_shapes_are_right():
    rows = [(image, target[:, 0]) for image, target in numbers()]
    assert seen(look_broadcast, setup(small_net(1), rows, F.mse_loss)) == {("fail", "network.broadcast")}
    columns = [(image, target[:, :1]) for image, target in numbers()]
    assert seen(look_broadcast, setup(small_net(1), columns, F.mse_loss)) == PASS


def test_maps_without_a_channel_axis_are_named():
    maps = [(image, mask.float()) for image, mask in masks()]

    def loss(outputs, targets):
        return (outputs.sigmoid() - targets).square().mean()

    assert seen(look_broadcast, setup(small_map(1), maps, loss)) == {("fail", "network.broadcast")}


def test_loss_with_weights_for_each_class_broadcasts_nothing():
    weight = torch.rand(3)

    def loss(outputs, labels):
        return (F.one_hot(labels, 3) * weight * -outputs.log_softmax(1)).sum(1).mean()

    assert seen(look_broadcast, setup(small_net(), classes(), loss)) == PASS


@pytest.mark.parametrize(("kernel", "verdict"), [(4, "pass"), (2, "pass"), (3, "warn"), (5, "warn")])
def test_transposed_convolution_whose_stride_does_not_divide_its_kernel_is_a_warning(kernel, verdict):
    net = nn.Sequential(nn.ConvTranspose2d(3, 2, kernel, 2))
    (found,) = seen(look_checkerboard, setup(net, masks()))
    assert found[0] == verdict


def test_filter_that_interpolates_covers_evenly_whatever_its_size():
    layer = nn.ConvTranspose2d(1, 1, 5, 3)
    line = 1 - (torch.arange(5) - 2).abs() / 3
    layer.weight.data[0, 0] = line[:, None] * line
    assert seen(look_checkerboard, setup(nn.Sequential(layer), masks())) == PASS


def test_outputs_that_stand_for_no_class_are_named():
    names = ["a", "b", "c"]
    run = classes(batches=30)
    for outputs, cause in ((3, ""), (4, ""), (10, "network.output_size"), (1000, "network.output_size")):
        verdict = "fail" if cause else "pass"
        assert seen(look_output_size, setup(small_net(outputs), run, CE, classes=names)) == {(verdict, cause)}
    with_void = [*names, "void"]
    assert seen(look_output_size, setup(small_net(3), run, CE, classes=with_void)) == PASS
    assert seen(look_output_size, setup(small_net(3), run, CE, classes=[*with_void, "more"])) == {
        ("fail", "network.output_size")
    }


def test_thousand_outputs_are_named_without_names_of_classes_too():
    images, labels = drawn(200, 3, 12, 12), torch.arange(200) % 3
    data = torch.utils.data.TensorDataset(images, labels)
    assert seen(look_output_size, setup(small_net(1000), data, CE)) == {("fail", "network.output_size")}
    assert seen(look_output_size, setup(small_net(5), data, CE)) == PASS
