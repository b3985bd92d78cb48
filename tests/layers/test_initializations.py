"""Each row of INITS against its formula, on samples of at least 10^5 numbers."""

import itertools
import math

import pytest
import torch
from torch import nn

from unpool.errors import RecipeError
from unpool.layers.conv import ConvNormAct
from unpool.layers.fans import fans_of
from unpool.layers.initializations import INITS, TRUNCATED, He, LeCun, LeCunBackward, Orthogonal
from unpool.layers.local import LocallyConnected
from unpool.layers.residual import Residual
from unpool.layers.upsample import BilinearDeconv

DRAWS = ("normal", "truncated_normal", "uniform")
LAYERS = {
    "conv": (lambda: nn.Conv2d(96, 128, 3), 96 * 9, 128 * 9),
    "grouped": (lambda: nn.Conv2d(256, 512, 3, groups=2), 128 * 9, 256 * 9),
    "linear": (lambda: nn.Linear(300, 400), 300, 400),
    "transposed": (lambda: nn.ConvTranspose2d(96, 128, 4, stride=2), 96 * 4, 128 * 16),
    "local": (lambda: LocallyConnected(16, 32, (9, 9), 3), 16 * 9, 32 * 9),
}
VARIANCES = {
    "lecun": lambda n_in, n_out: 1 / n_in,
    "lecun_backward": lambda n_in, n_out: 1 / n_out,
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "he": lambda n_in, n_out: 2 / n_in,
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", VARIANCES)
def test_variance_is_that_of_the_formula_in_every_distribution(name, draw, kind):
    torch.manual_seed(0)
    make, n_in, n_out = LAYERS[kind]
    layer = make()
    INITS[name](draw=draw)(layer)
    values, wanted = layer.weight.detach(), VARIANCES[name](n_in, n_out)
    assert values.numel() >= 1e5 or kind == "local"
    assert float(values.var()) == pytest.approx(wanted, rel=5 * math.sqrt(2 / values.numel()))
    largest = {"normal": math.inf, "truncated_normal": 2 / TRUNCATED, "uniform": math.sqrt(3)}[draw] * wanted**0.5
    assert float(values.abs().max()) <= largest * (1 + 1e-6)
    assert largest == math.inf or float(values.abs().max()) > 0.99 * largest


def test_gain_of_he_falls_with_the_slope_and_turns_with_the_fan():
    torch.manual_seed(0)
    layer = nn.Linear(200, 800)
    He(slope=0.5)(layer)
    assert float(layer.weight.detach().var()) == pytest.approx(2 / (1.25 * 200), rel=0.02)
    He(fan="out")(layer)
    assert float(layer.weight.detach().var()) == pytest.approx(2 / 800, rel=0.02)


def stack(init, *, depth, act, first=256, growth=0):
    torch.manual_seed(0)
    sides = [first + growth * i for i in range(depth + 1)]
    layers = [nn.Linear(*pair, bias=False) for pair in itertools.pairwise(sides)]
    network = nn.Sequential(*(part for layer in layers for part in (layer, act())))
    init(network)
    return network


@pytest.mark.parametrize(("init", "low", "high"), [(He(), 0.3, 3), (LeCun(), 2.0**-30 / 4, 2.0**-30 * 4)])
def test_thirty_layers_of_relu_keep_the_second_moment_with_he_and_lose_it_with_lecun(init, low, high):
    network = stack(init, depth=30, act=nn.ReLU)
    x = torch.randn(256, 256)
    with torch.no_grad():
        ratio = float(network(x).square().mean() / x.square().mean()) * (2 if isinstance(init, He) else 1)
    assert low < ratio < high


@pytest.mark.parametrize(("init", "kept"), [(LeCun(), "output"), (LeCunBackward(), "gradient")])
def test_thirty_growing_linear_layers_keep_the_output_with_one_and_the_gradient_with_the_other(init, kept):
    network = stack(init, depth=30, act=nn.Identity, first=64, growth=8)  # to 304
    x = torch.randn(256, 64, requires_grad=True)
    y = network(x)
    (gradient,) = torch.autograd.grad(y, x, asked := torch.randn_like(y))
    moments = {"output": moment(y) / moment(x), "gradient": moment(gradient) / moment(asked)}
    assert moments.pop(kept) == pytest.approx(1, rel=0.4)
    (lost,) = moments.values()
    assert lost == pytest.approx(304 / 64 if kept == "output" else 64 / 304, rel=0.4)


def moment(values):
    return float(values.detach().square().mean())


@pytest.mark.parametrize("shape", [(20, 5), (5, 20)])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal_matrix_times_its_transpose_is_the_identity(shape, gain):
    out, channels = shape
    layer = nn.Conv2d(channels, out, 1)
    Orthogonal(gain=gain)(layer)
    matrix = layer.weight.detach().flatten(1)
    product = matrix @ matrix.T if out <= channels else matrix.T @ matrix
    torch.testing.assert_close(product, gain**2 * torch.eye(min(shape)), atol=1e-5, rtol=0)


def test_groups_and_places_are_orthogonal_by_themselves():
    grouped, local = nn.Conv2d(8, 32, 1, groups=2), LocallyConnected(2, 3, (3, 2), 1)
    for layer in (grouped, local):
        Orthogonal()(layer)
    for part in grouped.weight.detach().flatten(1).chunk(2):
        torch.testing.assert_close(part.T @ part, torch.eye(4), atol=1e-5, rtol=0)
    for filters in local.weight.detach().flatten(0, 1).flatten(2):
        torch.testing.assert_close(filters.T @ filters, torch.eye(2), atol=1e-5, rtol=0)


def test_fifty_orthogonal_layers_keep_the_norm():
    network = stack(Orthogonal(), depth=50, act=nn.Identity, first=64)
    x = torch.randn(8, 64)
    with torch.no_grad():
        ratio = network(x).norm(dim=1) / x.norm(dim=1)
    assert ratio.sub(1).abs().max() < 1e-4


@pytest.mark.parametrize("name", INITS)
def test_filters_that_interpolate_and_biases_stay(name):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), BilinearDeconv(4, 2))
    nn.init.constant_(network[0].bias, -4.6)
    filters = network[1].weight.clone()
    INITS[name]()(network)
    assert torch.equal(network[1].weight, filters)
    assert (network[0].bias == -4.6).all()


@pytest.mark.parametrize("groups", [1, 4])
def test_bilinear_makes_a_transposed_convolution_interpolate_each_channel(groups):
    layer = nn.ConvTranspose2d(4, 4, 4, stride=2, groups=groups, bias=False)
    He(bilinear=True)(layer)
    x = torch.rand(1, 4, 3, 5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), BilinearDeconv(4, 2)(x))


def test_small_positive_bias_leaves_no_more_units_dead():
    dead = []
    for bias in (0.0, 0.1):
        network = nn.Sequential(nn.Linear(6, 400), nn.ReLU())
        torch.manual_seed(0)
        He(bias=bias)(network)
        assert (network[0].bias == bias).all()
        dead.append(int((network(torch.randn(4, 6)) == 0).all(0).sum()))
    assert dead[1] < dead[0]


def test_residual_block_with_a_last_scale_of_zero_passes_on_its_input():
    branch = nn.Sequential(ConvNormAct(4, 4), ConvNormAct(4, 4, act=None))
    block = Residual(branch, nn.Identity())
    He(zero_residual=True)(block)
    x = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(x), x)
    assert (branch[0].norm.weight == 1).all()


@pytest.mark.parametrize("option", ["bilinear", "zero_residual"])
def test_what_the_network_does_not_have_is_refused(option):
    with pytest.raises(RecipeError, match=f"model.init has {option}, and the network has no"):
        He(**{option: True})(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 2)))


def test_layers_without_weights_have_no_fans():
    assert fans_of(nn.BatchNorm2d(3)) is None
