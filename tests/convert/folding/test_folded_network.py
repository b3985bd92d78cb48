"""A folded network is a network like any other: weights, dtypes, modes, export, copies."""

import copy

import pytest
import torch
from torch import nn

from tests.convert.folding.folded import drawn, image, off, sequential
from unpool.convert import dilate, fold_batch_norm
from unpool.models import BACKBONES
from unpool.types import Backbone


def small(name="resnet18"):
    torch.manual_seed(0)
    return drawn(BACKBONES[name].build(width=4))


def test_network_that_was_given_stays_as_it_was():
    network = small().train()
    network.stages[0].eval()
    told, state = repr(network), copy.deepcopy(network.state_dict())
    modes = [module.training for module in network.modules()]
    fold_batch_norm(network)
    assert repr(network) == told
    assert [module.training for module in network.modules()] == modes
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_network_that_trains_is_folded_as_it_would_evaluate():
    network = small()
    folded = fold_batch_norm(network.train()).network
    assert not any(module.training for module in folded.modules())
    assert off(network.eval(), folded, image(1, 3, 64, 64)) <= 1e-5


def test_folded_backbone_is_a_backbone():
    network = small()
    folded = fold_batch_norm(network).network
    assert isinstance(folded, Backbone)
    assert (folded.channels, folded.strides) == (network.channels, network.strides)


def test_weights_move_from_one_folded_network_to_another(tmp_path):
    folded, other = fold_batch_norm(small()).network, fold_batch_norm(drawn(small(), seed=1)).network
    assert not any("norm" in key for key in folded.state_dict())
    torch.save(folded.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert off(folded, other, image(1, 3, 64, 64)) == 0


def test_copy_of_a_folded_network_is_a_network_of_its_own():
    folded = fold_batch_norm(small()).network
    copied = copy.deepcopy(folded)
    assert off(folded, copied, image(1, 3, 64, 64)) == 0
    copied.stem.conv.weight.data.zero_()
    assert off(folded, copied, image(1, 3, 64, 64)) > 0


def test_folded_network_exports():
    folded = fold_batch_norm(small()).network
    exported = torch.export.export(folded, (image(1, 3, 64, 64),))
    assert off(folded, exported.module(), image(1, 3, 64, 64)) <= 1e-6
    assert not any("batch_norm" in str(node.target) for node in exported.graph.nodes)


def test_dilated_network_can_be_folded():
    dilated = dilate(small(), output_stride=8)
    folded = fold_batch_norm(dilated)
    assert len(folded.changes) == 20
    assert off(dilated, folded.network, image(1, 3, 64, 64)) <= 1e-5
    assert folded.network.changes == dilated.changes


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_memory_format_stay_and_weights_are_rounded_once(dtype):
    exact = sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)).to(dtype).double()
    network = copy.deepcopy(exact).to(dtype).to(memory_format=torch.channels_last)
    network[0].weight.requires_grad = False
    folded = fold_batch_norm(network).network
    wanted = fold_batch_norm(exact).network
    for key in ("weight", "bias"):
        value = getattr(folded[0], key)
        assert torch.equal(value, getattr(wanted[0], key).to(dtype))
        assert not value.requires_grad
    assert folded[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert folded(image(dtype=dtype)).dtype == dtype


def test_gradients_reach_the_folded_weights():
    folded = fold_batch_norm(small()).network.train()
    sum(x.square().sum() for x in folded(image(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in folded.parameters())
