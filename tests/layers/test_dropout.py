"""Three things to drop at random, each with the mean that evaluation computes."""

import pytest
import torch
from torch import nn

from unpool.inspection.misprints import find_misprints
from unpool.layers.dropout import DropConnectLinear, OriginalDropout, StochasticDepth
from unpool.layers.group import groups_of, use_group_norm
from unpool.layers.preactivation import Preactivated, SharedPreactivated
from unpool.layers.residual import Residual
from unpool.training.whole_batch import AsOne
from unpool.types import Part


def mean_of(layer, x, *, draws):
    """Mean of what a layer gives in training, and its standard error."""
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = layer.train()(x.expand(draws, *x.shape[1:]))
    return outputs.mean(0), outputs.std(0) / draws**0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda: OriginalDropout(0.3),
        lambda: nn.Dropout(0.3),
        lambda: DropConnectLinear(6, 4, p=0.3),
        lambda: DropConnectLinear(6, 4, bias=False, p=0.7),
        lambda: StochasticDepth(0.3),
    ],
)
def test_evaluation_gives_the_mean_of_training(make):
    torch.manual_seed(1)
    layer, x = make(), torch.randn(1, 6) + 2
    mean, error = mean_of(layer, x, draws=20_000)
    with torch.no_grad():
        assert ((layer.eval()(x)[0] - mean).abs() <= 4 * error + 1e-6).all()


def test_original_form_multiplies_by_the_share_that_is_kept_and_the_inverted_one_by_nothing():
    x = torch.randn(5, 7)
    torch.testing.assert_close(OriginalDropout(0.2).eval()(x), 0.8 * x)
    assert torch.equal(nn.Dropout(0.2).eval()(x), x)
    kept = OriginalDropout(0.2)(x)
    assert ((kept == x) | (kept == 0)).all()
    assert any("set to zero" in str(one) for one in find_misprints("dropout"))  # lecture 000


def test_dropconnect_drops_weights_for_each_sample_and_not_units():
    layer = DropConnectLinear(40, 30, p=0.5)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    output = layer(torch.ones(8, 40))
    assert torch.equal(output, output.round())
    assert not torch.equal(output[0], output[1])  # a mask of its own for each sample
    assert 0 < output.min() <= output.max() < 40  # no output is dropped as a whole
    assert len({int(value) for value in output[0]}) > 3
    with pytest.raises(ValueError, match="flatten it before"):
        layer(torch.ones(2, 3, 40))


def test_bias_of_dropconnect_is_dropped_too():
    layer = DropConnectLinear(2, 1000, p=0.5)
    nn.init.zeros_(layer.weight)
    nn.init.ones_(layer.bias)
    assert 400 < float(layer(torch.ones(1, 2)).detach().sum()) < 600


def test_stochastic_depth_drops_samples_as_a_whole():
    output = StochasticDepth(0.5)(torch.ones(64, 3, 2, 2)).flatten(1)
    assert set(output.unique().tolist()) == {0.0, 2.0}
    assert (output == output[:, :1]).all()


@pytest.mark.parametrize(
    "make", [lambda: OriginalDropout(0.5), lambda: DropConnectLinear(4, 4), lambda: StochasticDepth(0.5)]
)
def test_processes_together_drop_what_one_drops(make):
    layer, x = make(), torch.rand(6, 4) + 1
    torch.manual_seed(3)
    whole = layer(x)
    parts = []
    for first in (0, 3):
        torch.manual_seed(3)
        with AsOne(Part(first=first, count=3, total=6), norms=False):
            parts.append(layer(x[first : first + 3]))
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize(
    ("block", "shortcut"),
    [
        (Residual(nn.Conv2d(4, 4, 1), nn.Identity()), lambda block, x: x),
        (Preactivated(nn.Conv2d(4, 4, 1)), lambda block, x: x),
        (SharedPreactivated(4, nn.Conv2d(4, 4, 1), nn.Identity()), lambda block, x: block.act(block.norm(x))),
    ],
)
def test_block_without_its_branch_is_its_shortcut(block, shortcut):
    x = torch.rand(2, 4, 3, 3)
    plain = block.eval()(x)
    block.drop = StochasticDepth(0.999999)
    torch.testing.assert_close(block.eval()(x), plain)
    block.drop.train()
    torch.manual_seed(0)
    torch.testing.assert_close(block(x), shortcut(block, x))
    assert set(block.state_dict()) == {name for name in block.state_dict() if "drop" not in name}


def test_group_norm_keeps_scale_and_shift_and_reads_one_sample():
    body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16))
    nn.init.uniform_(body[1].weight)
    weight, image = body[1].weight, torch.rand(4, 3, 8, 8)
    use_group_norm(body)
    assert body[1].weight is weight
    assert body[1].num_groups == 8
    assert [groups_of(channels) for channels in (64, 80, 7)] == [32, 20, 1]
    torch.testing.assert_close(body(image)[:1], body(image[:1]))
    torch.testing.assert_close(body.eval()(image), body.train()(image))
