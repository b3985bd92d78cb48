"""What is wrong with batch norm, its batches and its statistics is named."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.ops import FrozenBatchNorm2d

from tests.checks.small_setups import NONE, PASS, classes, drawn, seen, setup, small_net
from unpool.checks.norm_statistics import look_evaluation_repeats, look_gap, look_other_statistics
from unpool.checks.norms import look_batch, look_bias, look_frozen, look_momentum

CE = nn.CrossEntropyLoss()


def normed(momentum: float = 0.1) -> nn.Sequential:
    net = small_net(norm=nn.BatchNorm2d)
    net[1].momentum = net[4].momentum = momentum
    return net


@pytest.mark.parametrize(("size", "verdict"), [(1, "fail"), (2, "fail"), (3, "warn"), (4, "pass"), (16, "pass")])
def test_batches_too_small_for_batch_norm_are_named(size, verdict):
    found = seen(look_batch, setup(normed(), classes(batches=4, size=size)))
    assert found == {(verdict, "norm.small_batch" if verdict != "pass" else "")}


def test_batches_of_two_are_no_matter_to_group_norm_and_to_frozen_norms():
    assert seen(look_batch, setup(small_net(norm=lambda n: nn.GroupNorm(4, n)), classes(size=2))) == NONE
    net = normed()
    for module in (net[1], net[4]):
        module.train = lambda mode=True, module=module: module
        module.training = False
    assert seen(look_batch, setup(net, classes(size=2))) == NONE


def test_last_batch_of_one_sample_behind_a_pooling_is_named():
    data = TensorDataset(drawn(33, 3, 12, 12), torch.arange(33) % 3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 3))
    assert ("fail", "norm.small_batch") in seen(look_batch, setup(net, DataLoader(data, 8)))
    assert ("fail", "norm.small_batch") not in seen(look_batch, setup(net, DataLoader(data, 8, drop_last=True)))


def test_batches_of_one_class_in_random_order_are_named_and_mixed_ones_are_not():
    torch.manual_seed(0)
    labels = [int(one) for one in torch.randperm(12) % 3]
    alike = [(drawn(8, 3, 12, 12, seed=i), torch.full((8,), label)) for i, label in enumerate(labels)]
    assert ("fail", "norm.alike_batch") in seen(look_batch, setup(normed(), alike))
    assert seen(look_batch, setup(normed(), classes(batches=12))) == PASS


def test_batches_of_one_video_are_named_by_their_pictures():
    videos = [(drawn(1, 3, 12, 12, seed=i) + 0.2 * drawn(8, 3, 12, 12), torch.arange(8) % 3) for i in range(12)]
    assert ("fail", "norm.alike_batch") in seen(look_batch, setup(normed(), videos))


def test_classes_in_the_order_of_the_set_are_another_cause():
    ordered = [(drawn(8, 3, 12, 12, seed=i), torch.full((8,), i // 4)) for i in range(12)]
    assert ("fail", "norm.alike_batch") not in seen(look_batch, setup(normed(), ordered))


def test_bias_before_batch_norm_is_a_warning_and_before_other_layers_is_right():
    assert seen(look_bias, setup(normed(), classes())) == PASS
    biased = normed()
    biased[0] = nn.Conv2d(3, 8, 3, padding=1)
    assert seen(look_bias, setup(biased, classes())) == {("warn", "norm.bias_before")}
    behind_relu = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(800, 3)
    )
    assert seen(look_bias, setup(behind_relu, classes())) == PASS


@pytest.mark.parametrize(
    ("momentum", "cause"),
    [(0.1, ""), (0.001, "norm.slow_momentum"), (0.99, "norm.train_eval_gap"), (0.0, "norm.train_eval_gap")],
)
def test_momentum_is_compared_with_the_length_of_the_run(momentum, cause):
    run = setup(normed(momentum), DataLoader(TensorDataset(drawn(64, 3, 12, 12), torch.arange(64) % 3), 8), epochs=10)
    assert seen(look_momentum, run) == {("fail" if cause else "pass", cause)}


def test_slow_momentum_is_right_in_a_long_run_and_for_trained_statistics():
    data = DataLoader(TensorDataset(drawn(64, 3, 12, 12), torch.arange(64) % 3), 8)
    assert seen(look_momentum, setup(normed(0.001), data, epochs=1000)) == PASS
    net = normed(0.001)
    for module in (net[1], net[4]):
        module.running_mean += 0.1
    assert seen(look_momentum, setup(net, data, epochs=1)) == PASS
    assert seen(look_momentum, setup(normed(0.001), data)) == NONE


def test_training_in_evaluation_mode_is_named():
    net = normed()
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)

    def step(batch, *, mode):
        net.train(mode)
        loss = CE(net(batch[0]), batch[1])
        loss.backward()
        sgd.step()
        return loss

    run = setup(net, classes(), CE, step=lambda batch: step(batch, mode=False), optimizer=sgd)
    assert seen(look_frozen, run) == {("fail", "norm.frozen")}
    run = setup(net, classes(), CE, step=lambda batch: step(batch, mode=True), optimizer=sgd)
    assert seen(look_frozen, run) == PASS


class Frozen(nn.Module):
    """A backbone whose norms stay in evaluation mode, as its author freezes it."""

    def __init__(self, *, trained: bool, frozen: bool = True) -> None:
        super().__init__()
        self.backbone, self.head = normed(), nn.Linear(3, 3)
        self.backbone.requires_grad_(requires_grad=not frozen)
        if trained:
            self.head.train()
            self.backbone(classes()[0][0])
            for weight in self.backbone.parameters():
                weight.data = weight.data**3 if weight.ndim > 1 else weight.data

    def train(self, mode: bool = True):  # noqa: FBT001, FBT002 (torch's signature)
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def test_norms_frozen_with_the_statistics_of_new_ones_are_named():
    without_statistics = Frozen(trained=True)
    for module in (without_statistics.backbone[1], without_statistics.backbone[4]):
        module.weight.data.uniform_(0.5, 1.5)
        module.reset_running_stats()
    assert seen(look_frozen, setup(without_statistics, classes(), CE)) == {("fail", "norm.other_statistics")}
    assert seen(look_frozen, setup(Frozen(trained=False), classes(), CE)) == {("fail", "norm.frozen")}
    assert seen(look_frozen, setup(Frozen(trained=False, frozen=False), classes(), CE)) == {("fail", "norm.frozen")}


def test_frozen_layers_are_right_with_trained_weights_and_named_with_new_ones():
    assert seen(look_frozen, setup(Frozen(trained=True), classes(), CE)) == PASS
    net = small_net()
    net[2].requires_grad_(requires_grad=False)
    assert seen(look_frozen, setup(net, classes(), CE)) == {("fail", "norm.frozen")}


@pytest.mark.parametrize(
    ("with_norm", "trained", "expected"),
    [(True, False, {("fail", "norm.frozen")}), (True, True, PASS), (False, False, PASS)],
    ids=["a new layer with its new norm", "with statistics", "under a new norm that is trained"],
)
def test_layers_frozen_with_a_norm_that_never_saw_a_batch_are_named(with_norm, trained, expected):
    net = normed()
    for layer in (net[0], net[3]):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
    if trained:
        net(classes()[0][0])
    net[:6].requires_grad_(requires_grad=False)
    for norm in (net[1], net[4]):
        norm.requires_grad_(not with_norm)
    assert seen(look_frozen, setup(net, classes(), CE)) == expected


def test_frozen_statistics_of_other_data_are_named():
    net = Frozen(trained=True)
    for module in (net.backbone[1], net.backbone[4]):
        module.reset_running_stats()
        module.momentum = 1.0
    nn.Module.train(net)
    net.backbone(classes()[0][0])
    assert seen(look_other_statistics, setup(net, classes(), CE)) == PASS
    shifted = [(100 * image + 50, label) for image, label in classes()]
    assert seen(look_other_statistics, setup(net, shifted, CE)) == {("fail", "norm.other_statistics")}


def test_dropout_that_does_not_know_the_mode_is_named():
    class Dropping(nn.Module):
        def __init__(self, always: bool) -> None:  # noqa: FBT001
            super().__init__()
            self.net, self.always = small_net(), always

        def forward(self, x):
            return F.dropout(self.net(x), 0.5, training=self.always or self.training)

    always, by_mode = Dropping(True), Dropping(False)  # noqa: FBT003
    assert seen(look_evaluation_repeats, setup(always, classes())) == {("fail", "norm.dropout_in_eval")}
    assert seen(look_evaluation_repeats, setup(by_mode, classes())) == PASS


def test_running_statistics_that_do_not_describe_the_batches_are_named():
    def run(momentum: float):
        net = normed(momentum)
        sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        shifted = [(3 * image + 5, label) for image, label in classes(batches=4)]
        return setup(net, shifted, CE, optimizer=sgd)

    assert seen(look_gap, run(0.1)) == PASS
    assert seen(look_gap, run(0.0)) == {("fail", "norm.train_eval_gap")}


def test_network_that_is_given_in_evaluation_mode_without_its_step_is_a_warning():
    assert seen(look_frozen, setup(normed().eval(), classes(), CE)) == {("warn", "norm.frozen")}


@pytest.mark.parametrize("is_loaded", [False, True])
def test_norms_of_buffers_are_named_where_nothing_was_loaded_into_them(is_loaded):
    net = normed()
    for i in (1, 4):
        net[i] = FrozenBatchNorm2d(net[i].num_features)
        if is_loaded:
            net[i].running_var.mul_(0.5)
    assert seen(look_frozen, setup(net, classes(), CE)) == (PASS if is_loaded else {("fail", "norm.frozen")})
