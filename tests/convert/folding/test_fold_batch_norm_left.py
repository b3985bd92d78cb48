"""What cannot be folded exactly stays and is told, or is refused."""

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from tests.convert.folding.folded import Pair, compiled, drawn, image, keeps, sequential
from unpool.convert import fold_batch_norm
from unpool.layers.norm import LocationBatchNorm

F = nn.functional


def read_twice(m, x):
    y = m.conv(x)
    return m.norm(y) + y


def read_through_a_view(m, x):
    y = m.conv(x)
    flat = y.flatten(1)
    return m.norm(y).flatten(1) + flat


def given_out(m, x):
    y = m.conv(x)
    return m.norm(y), y


def changed_in_place(m, x):
    y = m.conv(x).mul_(2)
    return m.norm(y)


def changed_later(m, x):
    y = m.conv(x)
    z = m.norm(y)
    return z + y.relu_().detach().mean()


def read_by_two_norms(m, x):
    y = m.conv(x)
    return m.norm(y) + m.other(y)


def read_twice_by_a_batch(m, x):
    y = m.conv(x)
    return m.norm(y) + y if len(x) > 1 else m.norm(y)


def weights_used_twice(m, x):
    return m.norm(m.conv(x)) + F.conv2d(x, m.conv.weight, padding=1)


def weights_computed(m, x):
    return m.norm(F.conv2d(x, m.conv.weight * 2, padding=1))


def before_the_convolution(m, x):
    return m.conv(m.norm(x))


def sum_of_two(m, x):
    return m.norm(m.conv(x) + x)


def scaled_by_its_weight(m, x):
    return m.norm(m.conv(x)) * m.norm.weight.mean()


def norm_called_twice(m, x):
    y = m.conv(x)
    return m.norm(y).clamp_(-1, 1) + m.norm(y)


def run_by_another(m, x):
    return F.batch_norm(m.conv(x), m.norm.running_mean, m.norm.running_var, m.norm.weight, m.norm.bias)


def through_compiled_code(m, x):
    return m.norm(compiled(m.conv(x), x))


def behind_what_is_gone(m, x):
    y, z = m.conv(x), torch.tanh(x)
    del z
    return m.norm(compiled(y, x))


def statistics_computed(m, x):
    return F.batch_norm(m.conv(x), m.norm.running_mean + 1, m.norm.running_var, m.norm.weight, m.norm.bias)


def scale_computed(m, x):
    return F.batch_norm(m.conv(x), m.norm.running_mean, m.norm.running_var, m.norm.weight * 2, m.norm.bias)


def another_eps(m, x):
    y = m.norm(m.conv(x))
    return F.batch_norm(m.conv(y), m.norm.running_mean, m.norm.running_var, m.norm.weight, m.norm.bias, eps=1)


def read_by_compiled_code(m, x):
    y = m.conv(x)
    return m.other(m.conv(compiled(m.norm(y), y)))


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        (read_twice, "norm stays: conv is read by add too"),
        (read_through_a_view, "norm stays: conv is read by add too"),
        (given_out, "norm stays: conv is read by the output too"),
        (changed_in_place, "norm stays: conv is read by mul_ too"),
        (changed_later, "norm stays: conv is read by mean and relu_ too"),
        (read_by_two_norms, "norm stays: conv is read by other too; other stays: conv is read by norm too"),
        (read_twice_by_a_batch, "norm stays: conv is read by add too"),
        (weights_used_twice, "norm stays: conv is read by add too"),
        (weights_computed, "norm stays: it reads no convolution but conv2d"),
        (before_the_convolution, "norm stays: it reads no convolution but the image"),
        (sum_of_two, "norm stays: it reads no convolution but add"),
        (scaled_by_its_weight, "norm stays: without it the network does not run ('Identity' object has no attribute"),
        (statistics_computed, "stays: its statistics, weights or eps are not those of one layer"),
        (scale_computed, "norm stays: its statistics, weights or eps are not those of one layer"),
        (another_eps, "norm stays: its statistics, weights or eps are not those of one layer"),
        (read_by_compiled_code, "conv is read by other too"),
        (norm_called_twice, "norm stays: conv is read by a second call of norm too"),
        (run_by_another, "norm stays: another module runs it"),
        (through_compiled_code, "norm stays: it reads no convolution but something that cannot be seen"),
        (behind_what_is_gone, "norm stays: it reads no convolution but something that cannot be seen"),
    ],
)
def test_norm_that_cannot_be_folded_stays_and_is_told(wire, told):
    torch.manual_seed(0)
    network = drawn(Pair(wire)).double()
    folded = fold_batch_norm(network)
    assert folded.changes == ()
    assert told in str(folded)
    assert str(folded).startswith("no batch norm was folded; ")
    assert "other" in [layer for layer, _ in folded.left]
    x = image(dtype=torch.float64)
    for a, b in zip(folded.network(x), network(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (
            (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            "1 stays: it has no running statistics",
        ),
        ((nn.Conv2d(3, 2, 3), LocationBatchNorm((2, 3, 3))), "1.norm stays: 0 is read by getitem|its channels"),
        ((nn.Conv2d(3, 2, 3), nn.ReLU(), nn.BatchNorm2d(2)), "2 stays: it reads no convolution but relu in 1"),
        ((nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 3)), nn.BatchNorm2d(2)), "no convolution but conv2d"),
    ],
)
def test_norm_without_a_layer_to_go_into_stays(layers, told):
    folded = fold_batch_norm(sequential(*layers), image=image(1, 3, 5, 5))
    assert folded.changes == ()
    assert any(part in str(folded) for part in told.split("|")), str(folded)


class Whole(nn.Module):
    """Reads a whole number from what its layer gives."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 1), nn.BatchNorm1d(1)

    def forward(self, x):
        y = self.linear(x)
        return self.norm(y) * (2 if int(y[0, 0]) == 0 else 1), len(y), y.shape, y.is_cuda


class Single(Whole):
    """The same of one value, which no indexing gives away."""

    def forward(self, x):
        y = self.linear(x.flatten()[:4].view(1, 4))
        return self.norm(y) * (2 if int(y) == 0 else 1), len(y), y.shape, y.is_cuda


@pytest.mark.parametrize(("kind", "told"), [(Whole, "getitem"), (Single, "__int__")])
def test_whole_number_is_a_value_and_a_shape_is_none(kind, told):
    torch.manual_seed(0)
    assert told in str(fold_batch_norm(drawn(kind()), image=50 * image(2, 4)))


def test_shapes_tell_nothing_of_values():
    def wire(m, x):
        y = m.conv(x)
        return m.norm(y).view(len(y), *y.shape[1:]).to(y.dtype) * y.dim() + y.is_cuda

    assert len(fold_batch_norm(Pair(wire)).changes) == 1


def test_given_images_are_also_run_one_by_one():
    def wire(m, x):
        y = m.conv(x)
        return m.norm(y) + y if len(x) == 1 else m.norm(y)

    assert "norm stays: conv is read by add too" in str(fold_batch_norm(Pair(wire), image=image()))


def test_network_that_takes_one_image_at_a_time_is_folded():
    network = Pair(lambda m, x: m.norm(m.conv(x.view(1, 3, 5, 5))))
    assert len(fold_batch_norm(network, image=image(1, 3, 5, 5)).changes) == 1


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_norm_behind_a_layer_that_computes_its_bias_stays(norm):
    network = sequential(norm(nn.Conv2d(3, 4, 3), "bias", dim=None), nn.BatchNorm2d(4))
    with torch.no_grad():
        network(image())  # the older of the two keeps a bias that can be copied only now
    assert str(fold_batch_norm(network)) == "no batch norm was folded; 1 stays: the bias of 0 is computed"


class Unbiased(nn.Conv2d):
    """A convolution that never adds its bias."""

    def forward(self, x):
        return F.conv2d(x, self.weight)


def test_layer_that_does_not_hold_a_bias_is_found_by_comparison():
    network = sequential(Unbiased(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    folded = keeps(network, image(), norms=1, left=1)
    assert str(folded).startswith("1 of 2 batch norms were folded; 1 stays: folded it differs by ")


def test_maps_collected_by_hooks_are_part_of_the_answer():
    def wire(m, x):
        m.norm(m.conv(x))
        return (m.conv.kept,)

    torch.manual_seed(0)
    network = drawn(Pair(wire))
    network.conv.register_forward_hook(lambda module, inputs, output: setattr(module, "kept", output))
    assert "conv is read by the output too" in str(fold_batch_norm(network))


def test_weights_that_half_precision_cannot_hold_stay():
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[1].running_var.fill_(0)
    network[1].weight.data.fill_(6e4)
    assert len(fold_batch_norm(network).changes) == 1
    assert "1 stays: the weights of 0 would not be finite in torch.float16" in str(fold_batch_norm(network.half()))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, FrozenBatchNorm2d])
def test_norm_that_does_not_run_stays(norm):
    network = sequential(nn.Conv2d(3, 4, 3))
    network[0].register_module("unused", norm(4))
    assert str(fold_batch_norm(network)) == "no batch norm was folded; 0.unused stays: it did not run"


class ByHand(nn.BatchNorm2d):
    """A norm that calls no function for it."""

    def forward(self, x):
        mean, variance, scale, shift = (
            value.view(-1, 1, 1) for value in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return (x - mean) * (variance + self.eps).rsqrt() * scale + shift


@pytest.mark.parametrize("norm", [ByHand, type("Frozen", (FrozenBatchNorm2d,), {})])
def test_norm_that_runs_in_a_way_that_is_not_known_is_told(norm):
    told = str(fold_batch_norm(sequential(nn.Conv2d(3, 4, 3), norm(4))))
    assert told == "no batch norm was folded; 1 stays: it does not call torch.nn.functional.batch_norm"


def test_network_that_is_a_norm_has_a_name():
    told = str(fold_batch_norm(drawn(nn.BatchNorm2d(3))))
    assert told == "no batch norm was folded; the network itself stays: it is not a module inside of the network"


def test_network_without_batch_norm_is_said_to_be_one():
    told = "nothing was folded: the network has no batch norm, neither a call of torch.nn.functional.batch_norm nor a "
    assert str(fold_batch_norm(sequential(nn.Conv2d(3, 4, 3)))).startswith(told)
