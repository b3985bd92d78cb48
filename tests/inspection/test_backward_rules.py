"""Signals from a unit back to the image: DeconvNet, guided back-propagation and the gradient."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unpool import models
from unpool.errors import RecipeError
from unpool.inspection.backward_rules import RULES, reconstruct

NETWORKS = {  # name, options, a layer behind its last convolutions
    "vgg11": ({"width": 4}, "backbone.stages.4"),
    "alexnet": ({"width": 8}, "features.conv5"),
    "resnet18": ({"width": 8}, "backbone.stages.3"),
}
SPELLINGS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "method in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0.0),
    "hardtanh": lambda x: F.hardtanh(x, 0.0, 1e9),
}


class Small(nn.Module):
    """A strided convolution, a max pooling and a convolution, each followed by an activation."""

    def __init__(self, act):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(6, 4, 3, padding=1)
        self.act = act

    def forward(self, image):
        return self.act(self.last(self.pool(self.act(self.first(image)))))


def image(side=20, dtype=torch.float64):
    return torch.randn(1, 3, side, side, dtype=dtype, generator=torch.Generator().manual_seed(1))


def by_hand(network, x, unit, *, rule):
    """The signal by transposed filters, unpooling with switches, and a rectification at each ReLU."""
    before = network.first(x)
    pooled, switches = F.max_pool2d(before.relu(), 2, return_indices=True)
    behind = network.last(pooled)
    top = behind.relu()
    signal = torch.zeros_like(top)
    at = int(top[0, unit].argmax())
    signal.flatten(2)[0, unit, at] = top[0, unit].flatten()[at]

    def through(signal, values):
        signal = signal if rule == "gradient" else signal.relu()
        return signal if rule == "deconvnet" else signal * (values > 0)

    signal = F.conv_transpose2d(through(signal, behind), network.last.weight, padding=1)
    signal = F.max_unpool2d(signal, switches, 2, output_size=before.shape[2:])
    signal = through(signal, before)
    return F.conv_transpose2d(signal, network.first.weight, stride=2, padding=1, output_padding=1)[0]


@pytest.mark.parametrize("rule", RULES)
def test_signal_is_that_of_transposed_filters_and_switches(rule):
    network = Small(nn.ReLU()).double()
    x = image()
    expected = by_hand(network, x, 2, rule=rule)
    shown = reconstruct(network, x, layer="act", unit=2)
    assert shown.relus == 1  # the first call of the shared ReLU is the layer
    shown = reconstruct(network, x, layer="", unit=2)
    assert (shown.signals[rule] - expected).abs().max() == 0
    assert shown.relus == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_without_relu_all_rules_give_activation_times_gradient_and_with_it_they_differ(name):
    options, layer = NETWORKS[name]
    torch.manual_seed(0)
    network = models.build(name, num_classes=2, **options).double().eval()
    x = image(67 if name != "alexnet" else 227)
    shown = reconstruct(network, x, layer=layer, unit=3)
    assert shown.activation > 0
    for one, other in itertools.combinations(shown.signals.values(), 2):
        assert (one - other).abs().max() > 1e-3 * one.abs().max() > 0
    for parent in list(network.modules()):
        for child, module in parent.named_children():
            if isinstance(module, nn.ReLU):
                setattr(parent, child, nn.Identity())
    linear = reconstruct(network, x, layer=layer, unit=3)
    leaf = x.clone().requires_grad_()
    kept = []
    with network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: kept.append(output)):
        network(leaf)
    activation = kept[0][(0, 3, *linear.position)]
    (gradient,) = torch.autograd.grad(activation, leaf)
    expected = activation.detach() * gradient[0]
    assert linear.relus == 0
    for signal in linear.signals.values():
        assert (signal - linear.signals["gradient"]).abs().max() == 0
        assert (signal - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.parametrize("name", SPELLINGS)
def test_relu_has_the_same_rules_however_it_is_written(name):
    expected = reconstruct(Small(nn.ReLU()).double(), image(), layer="last", unit=1)
    shown = reconstruct(Small(SPELLINGS[name]).double(), image(), layer="last", unit=1)
    assert shown.relus == 1
    for rule in RULES:
        assert torch.equal(shown.signals[rule], expected.signals[rule])


def test_moving_a_maximum_moves_its_reconstruction():
    network = nn.Sequential(nn.MaxPool2d(4), nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    nn.init.constant_(network[1].weight, 2.0)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        x = torch.zeros(1, 1, 4, 4)
        x[0, 0, row, column] = 1.0
        signal = reconstruct(network, x, layer="2", unit=0).signals["deconvnet"]
        assert signal.nonzero().tolist() == [[0, row, column]]
        assert signal[0, row, column] == 4.0


def test_guided_signal_stops_where_a_relu6_is_cut_off():
    network = nn.Sequential(nn.ReLU6(), nn.Conv2d(1, 1, (1, 3), bias=False))
    nn.init.constant_(network[1].weight, 1.0)
    signals = reconstruct(network, torch.tensor([[[[7.0, 5.0, -1.0]]]]), layer="1", unit=0).signals
    assert signals["deconvnet"].tolist() == [[[11.0, 11.0, 11.0]]]
    assert signals["guided"].tolist() == signals["gradient"].tolist() == [[[0.0, 11.0, 0.0]]]


def test_relu_that_is_called_for_its_effect_is_followed():
    class Plain(nn.Module):
        def forward(self, x):
            y = 2 * x
            y.relu_()
            return y

    signals = reconstruct(Plain(), torch.tensor([[[[3.0]], [[-2.0]]]]), layer="", unit=1, position=(0, 0)).signals
    assert [float(signal.abs().sum()) for signal in signals.values()] == [0.0, 0.0, 0.0]
    signals = reconstruct(Plain(), torch.tensor([[[[3.0]], [[-2.0]]]]), layer="", unit=0).signals
    assert all(signal.flatten().tolist() == [12.0, 0.0] for signal in signals.values())


def test_forward_pass_is_that_of_the_network():
    network = Small(nn.ReLU6()).double()
    nn.init.constant_(network.last.bias, 8.0)
    values = network(image())[0, 1]
    shown = reconstruct(network, image(), layer="", unit=1)
    assert shown.activation == values.max().item()
    assert values[shown.position] == values.max()


def test_other_activations_are_refused_with_the_layer_and_the_gradient_passes_them():
    network = Small(nn.SiLU()).double()
    with pytest.raises(RecipeError, match="layer 'act' calls silu"):
        reconstruct(network, image(), layer="last", unit=0)
    signal = reconstruct(network, image(), layer="last", unit=0, rules=["gradient"]).signals["gradient"]
    assert signal.abs().max() > 0
    assert reconstruct(network, image(), layer="first", unit=0).relus == 0  # in front of any activation


def test_modes_hooks_and_gradients_of_weights_stay_as_they_were():
    network = Small(nn.ReLU()).double().train()
    network.pool.eval()
    reconstruct(network, image(), layer="last", unit=0)
    with pytest.raises(RecipeError, match="has units 0 to 3, and 4"):
        reconstruct(network, image(), layer="last", unit=4)
    assert [module.training for module in (network, network.first, network.pool)] == [True, True, False]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())


def test_unknown_rules_and_compiled_networks_are_refused():
    with pytest.raises(RecipeError, match="the rule is 'guess'"):
        reconstruct(Small(nn.ReLU()), image(), layer="last", unit=0, rules=["guess"])
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).double())
    with pytest.raises(RecipeError, match="is compiled"):
        reconstruct(scripted, image(), layer="1", unit=0)
