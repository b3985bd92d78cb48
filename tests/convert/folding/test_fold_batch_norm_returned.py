"""A folded network is judged by what it returns, all of it, fresh and in the precision of its own."""

import pytest
import torch
from torch import nn

from tests.convert.folding.folded import Pair, drawn, image, sequential
from unpool.convert import fold_batch_norm
from unpool.convert.folding import comparison
from unpool.errors import NotConvertible
from unpool.tracing.outputs import difference

F = nn.functional
INF, NAN = torch.inf, torch.nan


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (torch.tensor([4.0, 1.0]), torch.tensor([4.0, 2.0]), 0.25),
        (torch.tensor([NAN, INF, 4.0]), torch.tensor([NAN, INF, 3.0]), 0.25),
        (torch.tensor([NAN, 4.0]), torch.tensor([1.0, 4.0]), INF),
        (torch.tensor([INF, 4.0]), torch.tensor([-INF, 4.0]), INF),
        (torch.tensor([4.0 + 0j]), torch.tensor([4.0 + 1j]), 0.25),
        (torch.tensor([4.0, 1.0]).to_sparse(), torch.tensor([4.0, 2.0]).to_sparse(), 0.25),
        (torch.tensor([4.0]), torch.tensor([4.0], dtype=torch.float64), INF),
        (torch.tensor([4.0]), torch.tensor(4.0), INF),
        (torch.zeros(0, 3), torch.zeros(0, 3), 0.0),
        (torch.tensor([7]), torch.tensor([8]), INF),
        (torch.tensor([7]), torch.tensor([7]), 0.0),
        (4.0, 3.0, 0.25),
        (4.0 + 0j, 4.0 + 1j, 0.25),
        (NAN, NAN, 0.0),
        (7, 8, INF),
        ("a", "b", INF),
        ("a", "a", 0.0),
        (None, None, 0.0),
        (True, 1, INF),
        (torch.tensor(4.0), 4.0, INF),
    ],
)
def test_difference_of_two_parts_of_an_answer(a, b, wanted):
    assert difference(a, b) == wanted


class MaxNorm(nn.Conv2d):
    """Shortens its own weights, as EEGNet does."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=0.1)
        return super().forward(x)


class DataInit(nn.Conv2d):
    """Sets its weights by the first image."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("is_ready", torch.zeros((), dtype=torch.bool))

    def forward(self, x):
        if not self.is_ready:
            self.weight.data /= super().forward(x).std()
            self.is_ready.fill_(1)
        return super().forward(x)


@pytest.mark.parametrize("layer", [MaxNorm(3, 4, 3), DataInit(3, 4, 3)])
def test_norm_behind_a_layer_that_changes_its_own_weights_stays(layer):
    torch.manual_seed(0)
    network = sequential(layer, nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1), nn.BatchNorm2d(3))
    folded = fold_batch_norm(network)
    assert [layer for layer, _ in folded.left] == ["1"]
    assert "1 stays: folded it differs by " in str(folded)
    assert [change.layer for change in folded.changes] == ["3"]


class Widening(nn.BatchNorm2d):
    """Reads in the precision of its own weights."""

    def forward(self, x):
        return super().forward(x.to(self.weight.dtype))


@pytest.mark.parametrize(
    ("behind", "told"),
    [
        ((), "its output has bfloat16 of .* instead of float32 of .* in its own precision"),
        ((nn.Conv2d(4, 2, 1),), "then it does not run"),
    ],
)
def test_precision_that_the_norm_would_have_widened_is_refused(behind, told):
    network = sequential(nn.Conv2d(3, 4, 3).bfloat16(), Widening(4), *behind)
    with pytest.raises(NotConvertible, match=told):
        fold_batch_norm(network)


def test_code_that_reads_a_convolution_in_one_precision_alone_is_refused():
    def wire(m, x):
        y = m.conv(x)
        return m.norm(y) if y.dtype == torch.float64 else m.norm(y) + y

    with pytest.raises(NotConvertible, match=r"its output differs by .* in its own precision"):
        fold_batch_norm(drawn(Pair(wire)))


def test_weights_that_half_precision_swallows_are_refused():
    network = sequential(nn.Conv2d(64, 8, 3, bias=False), nn.BatchNorm2d(8))
    with torch.no_grad():
        for value, filled in zip((*network[1].parameters(), *network[1].buffers()), (1e-3, 0, 0, 1e4), strict=False):
            value.fill_(filled)
    given = 300 * image(1, 64, 9, 9)
    assert len(fold_batch_norm(network, image=given).changes) == 1
    with pytest.raises(NotConvertible, match=r"its output differs by .* in its own precision"):
        fold_batch_norm(network.half(), image=given)


class Cancelling(nn.Module):
    """Gives what is left where two large values are taken from one another."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

    def forward(self, x):
        x = self.layers(x)
        return (x + 100) - 100


def test_rounding_that_the_network_does_itself_is_not_refused(monkeypatch):
    torch.manual_seed(0)
    network = drawn(Cancelling())
    network.layers[1].weight.data.fill_(1e-2)
    tail = nn.Sequential(network, nn.InstanceNorm2d(4, eps=1e-12))
    assert len(fold_batch_norm(tail).changes) == 1
    monkeypatch.setattr(comparison, "ROUNDINGS", 0)
    with pytest.raises(NotConvertible, match=r"differs by .* in its own precision"):
        fold_batch_norm(tail)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_of_half_precision_is_not_refused(dtype):
    network = sequential(*(layer for _ in range(8) for layer in (nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3))))
    assert len(fold_batch_norm(network.to(dtype)).changes) == 8


def test_precision_inside_of_the_network_counts():
    def wire(m, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = m.norm(m.conv(x))
        return y.float()

    assert len(fold_batch_norm(drawn(Pair(wire))).changes) == 1


@pytest.mark.parametrize(
    "read",
    [float, lambda x: str(x.item()), lambda x: {"a": [x * 1j]}, lambda x: (x, x.sqrt() * NAN, x.log())],
)
def test_every_part_of_the_answer_is_compared(read):
    def wire(m, x):
        return m.norm(m.conv(x)), read(m.conv.weight.detach().abs().sum())

    torch.manual_seed(0)
    with pytest.raises(NotConvertible, match=r"its output (has|differs)"):
        fold_batch_norm(drawn(Pair(wire)))


@pytest.mark.parametrize("behind", [torch.fft.fft2, torch.log, torch.Tensor.to_sparse, lambda y: (y, float(y.mean()))])
def test_complex_and_missing_values_and_numbers_that_agree_are_folded(behind):
    torch.manual_seed(0)
    assert len(fold_batch_norm(drawn(Pair(lambda m, x: behind(m.norm(m.conv(x)))))).changes) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_that_share_statistics_or_keep_them_as_parameters_are_folded(dtype):
    network = sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)).to(dtype)
    network[3].running_mean = network[1].running_mean
    variance = network[1].running_var
    del network[1].running_var
    network[1].running_var = nn.Parameter(variance, requires_grad=False)
    folded = fold_batch_norm(network)
    assert len(folded.changes) == 2
    torch.testing.assert_close(folded.network(image(dtype=dtype)), network(image(dtype=dtype)))


class Counted(nn.Conv2d):
    """Never adds its bias, and counts its copies."""

    copies = 0

    def __deepcopy__(self, memo):
        Counted.copies += 1
        layer = Counted(3, 3, 3)
        layer.load_state_dict(self.state_dict())
        return layer

    def forward(self, x):
        return F.conv2d(x, self.weight)


def test_many_norms_that_stay_are_found_together():
    copies = []
    for count in (2, 8):
        network = sequential(*(layer for _ in range(count) for layer in (Counted(3, 3, 3), nn.BatchNorm2d(3))))
        Counted.copies = 0
        assert len(fold_batch_norm(network, image=image()).left) == count
        copies.append(Counted.copies / count)
    assert copies[0] == copies[1]
