"""What a classifier made convolutional is as a module, and which classifiers are refused."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from tests.convert.dilation.dilated import Act, conv, image, sequential, shaken
from unpool.convert import fully_convolutional
from unpool.errors import NotConvertible

F = nn.functional
SIZE = (12, 12)


class Excited(nn.Module):
    """Squeeze and excitation."""

    def forward(self, x):
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


class ByHand(nn.Module):
    """Dropout called as a function, and a norm on a map."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc1, self.fc2 = conv(3, 8), nn.BatchNorm2d(8), nn.Linear(800, 64), nn.Linear(64, 5)

    def forward(self, x):
        x = torch.relu(self.fc1(self.norm(self.conv(x)).flatten(1)))
        return self.fc2(F.dropout(x, 0.5, training=self.training))


def classifier(*layers):
    return sequential(conv(3, 4), *layers, nn.Flatten(), nn.Linear(4 * 100, 5))


def test_classifier_that_was_given_stays_as_it_was_and_shares_no_weight():
    given = ByHand().train()
    given.norm.eval()
    state = copy.deepcopy(given.state_dict())
    network = fully_convolutional(given, image=image(SIZE))
    assert [m.training for m in given.modules()] == [True, True, False, True, True]
    assert type(given.fc1) is nn.Linear
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(value, state[key]) for key, value in given.state_dict().items())


def test_parameters_keep_names_kind_and_what_is_frozen():
    given = ByHand().half()
    given.fc1.weight.requires_grad = False
    network = fully_convolutional(given, image=image(SIZE))
    assert list(network.state_dict()) == list(given.state_dict())
    assert {p.dtype for p in network.parameters()} == {torch.float16}
    assert [p.requires_grad for p in network.parameters()] == [p.requires_grad for p in given.parameters()]
    assert torch.equal(network.fc1.weight.flatten(1), given.fc1.weight)


def test_mode_switches_dropout_and_batch_norm():
    network = fully_convolutional(ByHand().eval(), image=image(SIZE))
    x = image((16, 20)).float()
    assert not any(m.training for m in network.modules())
    assert torch.equal(network(x), network(x))
    mean = network.norm.running_mean.clone()
    assert not torch.equal(network.train()(x), network(x))
    assert not torch.equal(network.norm.running_mean, mean)


def test_dropout_of_what_was_flattened_is_kept():
    network = fully_convolutional(classifier(nn.Flatten(), nn.Dropout()), image=image(SIZE))
    x = image((16, 20))
    assert torch.equal(network(x), network(x))
    assert not torch.equal(network.train()(x), network(x))


def test_parameters_that_no_operation_reads_and_buffers_that_are_not_saved_are_kept():
    given = classifier()
    given.register_parameter("unused", nn.Parameter(torch.ones(2)))
    given.register_buffer("scratch", torch.ones(3), persistent=False)
    for made in (network := fully_convolutional(given, image=image(SIZE)), copy.deepcopy(network)):
        assert list(made.state_dict()) == list(given.state_dict())
        assert dict(made.named_buffers()).keys() == {"scratch"}
        assert (made.changes, made.margin) == (network.changes, network.margin)


def test_every_parameter_gets_a_gradient_in_bfloat16():
    network = fully_convolutional(ByHand().train(), image=image(SIZE))
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(image((20, 17), batch=2).float())
    scores.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in network.parameters() if p.dim() > 1)


def test_image_smaller_than_those_of_the_classifier_is_refused_with_both_sizes():
    network = fully_convolutional(classifier(), image=image(SIZE))
    with pytest.raises(
        ValueError, match=r"the image is \(12, 11\) \(H, W\) and the classifier's input size is \(12, 12"
    ):
        network(image((12, 11)))


@pytest.mark.slow
def test_exported_network_takes_every_size():
    network = fully_convolutional(ByHand().eval(), image=image(SIZE))
    height, width = (torch.export.Dim(axis, min=13, max=64) for axis in "hw")
    x = image((17, 20)).float()
    exported = torch.export.export(network, (x,), dynamic_shapes=({2: height, 3: width},)).module()
    for size in ((13, 22), (31, 17)):
        x = image(size).float()
        torch.testing.assert_close(exported(x), network(x))


def test_timms_network_says_its_own_size():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    given = shaken(timm.create_model("test_convnext.r160_in1k", num_classes=5))
    network = fully_convolutional(given)
    assert network.size_hw == (160, 160)
    x = image((160, 160))
    with torch.no_grad():
        torch.testing.assert_close(network(x).flatten(1), given(x), rtol=1e-9, atol=1e-9)


def test_network_that_does_not_say_its_size_needs_an_image():
    with pytest.raises(NotConvertible, match=r"Sequential does not say for which size .*: give one such image"):
        fully_convolutional(classifier())


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ((Excited(),), "1:mul cannot be made convolutional: it joins a map with an average over the window"),
        ((nn.InstanceNorm2d(4),), "1 cannot be made convolutional: it does not work value by value"),
        ((nn.GroupNorm(2, 4),), "1 cannot be made convolutional: it does not work value by value"),
        ((Act(lambda x: x.flip(2)),), "1:flip cannot be made convolutional: it does not work value by value"),
        ((Act(lambda x: x.cumsum(2)),), "1:cumsum cannot be made convolutional: it does not work value by value"),
        ((Act(lambda x: x + x.new_ones(10, 10)),), "1.* cannot be made convolutional: "),
        ((nn.Upsample(scale_factor=2), nn.MaxPool2d(2)), "1 cannot be made convolutional: it changes the size"),
        ((Act(lambda x: F.pad(x, (0, x.shape[3] % 2))),), "1.* cannot be made convolutional: its padding is computed"),
        ((nn.AdaptiveAvgPool2d(3), nn.Upsample((10, 10))), "2 cannot be made convolutional: "),
        ((nn.AdaptiveAvgPool2d(12), nn.Conv2d(4, 4, 3)), "2 cannot be made convolutional: it reads averages whose"),
        (
            (nn.AdaptiveAvgPool2d(12), nn.AdaptiveAvgPool2d(10)),
            "2 cannot be made convolutional: it reads averages whose",
        ),
        ((nn.Flatten(), nn.BatchNorm1d(400)), "2 cannot .*: it reads a flattened map of several .*: put a norm before"),
        ((nn.Flatten(), nn.LayerNorm(400)), "2 cannot .*: it reads a flattened map of several .*: put a norm before"),
        (
            (nn.MaxPool2d(1, return_indices=True), Act(lambda x: x[0])),
            "1 cannot be .*: it returns the indices of its max",
        ),
    ],
)
def test_layer_without_an_exact_counterpart_is_named(layers, told):
    with pytest.raises(NotConvertible, match=told):
        fully_convolutional(classifier(*layers), image=image(SIZE))


def test_averages_that_no_layer_takes_in_are_refused():
    with pytest.raises(NotConvertible, match="output cannot be made convolutional: it gives no vector of scores"):
        fully_convolutional(sequential(conv(3, 4, 12), nn.AdaptiveAvgPool2d(3), nn.Flatten()), image=image(SIZE))


def test_maps_of_different_strides_are_not_joined():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = conv(3, 4), conv(3, 4, stride=2)

        def forward(self, x):
            return F.adaptive_avg_pool2d(self.fine(x), 1) + F.adaptive_avg_pool2d(self.coarse(x), 1)

    with pytest.raises(NotConvertible, match="0:add cannot be made convolutional: it joins maps of different strides"):
        fully_convolutional(sequential(Both(), nn.Flatten()), image=image(SIZE))


def test_padding_by_the_size_of_the_image_is_refused():
    timm = pytest.importorskip("timm")
    same = timm.layers.Conv2dSame(3, 4, 3, stride=2)
    with pytest.raises(NotConvertible, match="0 cannot be made convolutional: it pads or steps by the size of the map"):
        fully_convolutional(sequential(same, nn.Flatten(), nn.Linear(144, 5)), image=image(SIZE))


def test_layer_that_reads_windows_of_two_sizes_is_refused():
    shared = nn.Linear(4, 4)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = conv(3, 1, 11), shared

        def forward(self, x):
            return self.fc(self.fc(self.conv(x).flatten(1)))

    with pytest.raises(NotConvertible, match="fc cannot be made convolutional: it is called twice, on windows of diff"):
        fully_convolutional(Twice(), image=image(SIZE))


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (conv(3, 4), r"Conv2d gives \(1, 4, 10, 10\) .*no one vector of scores"),
        (Act(lambda x: (x.mean((2, 3)), x.amax((2, 3)))), r"Act gives \(1, 3\), \(1, 3\) .*without auxiliary heads"),
        (nn.Linear(5, 5), r"the network does not take an image of \(3, 12, 12\)"),
        (nn.Flatten(), "output cannot be made convolutional: it gives no vector of scores"),
    ],
)
def test_network_that_is_no_classifier_is_refused(network, told):
    with pytest.raises(NotConvertible, match=told):
        fully_convolutional(network, image=image(SIZE))


def test_network_whose_answer_is_changed_by_a_hook_is_refused():
    given = classifier()
    given[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    given.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(
        NotConvertible, match="Sequential cannot be followed: its operations alone compute another output"
    ):
        fully_convolutional(given, image=image(SIZE))


def test_weights_that_are_zero_hide_no_difference():
    given = classifier(nn.GroupNorm(2, 4))
    for parameter in given[0].parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(NotConvertible, match="1 cannot be made convolutional: it does not work value by value"):
        fully_convolutional(given, image=image(SIZE))


def test_network_with_auxiliary_heads_while_it_trains_is_refused():
    given = torchvision.models.googlenet(weights=None, num_classes=5, init_weights=False)
    with pytest.raises(NotConvertible, match="GoogLeNet acts differently while it trains, from 'aux1"):
        fully_convolutional(given, image=image((64, 64)))


def test_slice_reads_single_rows_and_columns():
    class Sliced(nn.Module):
        def forward(self, x):
            return x[:, :, 1::2, 1::2]

    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), Sliced(), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))
    network = fully_convolutional(classifier, image=torch.zeros(1, 3, 8, 8))
    assert (network.margin, network.stride) == (((0, 0), (0, 0)), (2, 2))
    assert network.inside((12, 14)) == (slice(0, 3), slice(0, 4))
