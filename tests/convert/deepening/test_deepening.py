"""A deeper network gives the answers of the shallower one, and learns from there."""

import copy

import pytest
import torch
from torch import nn

import unpool
from unpool.convert import deepen
from unpool.errors import NotConvertible
from unpool.models import build
from unpool.models.backbones.preresnet import BASIC


def trained(network):
    """The network with norms and weights that are not those of the start."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return network


class Block(nn.Module):
    """A residual block as other libraries write it."""

    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels)

    def forward(self, x):
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


def foreign():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(Block(4), Block(4)), nn.Conv2d(4, 2, 1))


def plain():
    conv = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*conv, nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU())


def residual():
    return build("cifar_resnet20", width=4, num_classes=3)


def preactivated():
    return nn.Sequential(nn.Conv2d(3, 4, 3), BASIC.stage(4, 4, 1, depth=2), nn.Conv2d(4, 2, 1))


NETWORKS = {
    "residual": (residual, 3, ["backbone.stages.0.2", "backbone.stages.1.2"]),
    "preactivated": (preactivated, 1, ["1.1"]),
    "foreign": (foreign, 1, ["2.1"]),
    "plain": (plain, 2, ["3", "7"]),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_deeper_network_gives_the_same_answers(kind):
    make, count, layers = NETWORKS[kind]
    network = trained(make())
    before = copy.deepcopy(network.state_dict())
    deeper = deepen(network)
    assert len(deeper.changes) == count
    assert set(layers) <= {change.layer for change in deeper.changes}
    image = torch.randn(2, 3, 40, 48)
    network.eval()
    with torch.no_grad():
        expected, answer = network(image), deeper.network(image)
    assert (answer - expected).abs().max() <= 1e-6 * expected.abs().max()
    state = deeper.network.state_dict()
    assert len(state) > len(before)
    assert all(torch.equal(state[name], value) for name, value in before.items())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("kind", ["residual", "foreign", "plain"])
def test_what_was_added_learns_from_the_first_step_on(kind):
    make, _, _ = NETWORKS[kind]
    network = make()
    deeper = deepen(network).network.train()
    new = {name for name, _ in deeper.named_parameters()} - {name for name, _ in network.named_parameters()}
    deeper(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert new
    assert any(deeper.get_parameter(name).grad.any() for name in new)


def test_only_the_layer_that_ends_the_branch_is_zero_wherever_the_block_lists_it():
    block = Block(4)
    for name in ("conv1", "bn1", "conv2"):  # bn2 comes first
        block._modules[name] = block._modules.pop(name)
    added = deepen(trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(block)))).network[2][1]
    zero = {name for name, parameter in added.named_parameters() if not parameter.any()}
    assert zero == {"bn2.weight", "bn2.bias"}


def test_block_is_added_behind_the_modules_that_are_named():
    deeper = deepen(plain(), after=["1"])
    assert [change.layer for change in deeper.changes] == ["1"]
    assert isinstance(deeper.network[1], nn.Sequential)
    twice = deepen(deepen(foreign()).network, after=["2.2"])
    assert len(twice.network[2]) == 4
    assert unpool.deepen is deepen


@pytest.mark.parametrize(
    ("network", "after", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()), (), "no residual block at the end of an nn.Sequential"),
        (plain(), ("0",), "nothing can be added behind 0"),
        (plain(), ("9",), "nothing can be added behind 9"),
    ],
)
def test_network_to_which_nothing_can_be_added_is_refused(network, after, says):
    with pytest.raises(NotConvertible, match=says):
        deepen(network, after=after)


def test_relu_that_runs_twice_gets_no_filter():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()

        def forward(self, x):
            return self.act(self.conv(self.act(self.conv(x))))

    with pytest.raises(NotConvertible, match="runs once"):
        deepen(Twice())


def test_mode_and_dtype_of_the_network_stay():
    network = plain().double().train()
    deeper = deepen(network)
    assert network.training
    assert not deeper.network.training
    assert {p.dtype for p in deeper.network.parameters()} == {torch.float64}


def test_layer_that_the_code_keeps_by_other_ways_than_its_name_is_no_layer_to_add_behind():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)
            self.layers = (self.conv, self.act, self.head)

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    with pytest.raises(NotConvertible, match="what was added behind act does not run"):
        deepen(Keeping())
